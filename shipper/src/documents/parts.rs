//! The members of documents, nested as their JSON is. What is not known is left out.
//!
//! Every member is a line of `catalogue/fields.rs` as well; a test compares the documents of whole databases with the catalogue.

use std::collections::BTreeMap;
use std::sync::Arc;

use dify_observe_core::dify::records::Word;
use dify_observe_core::dify::time::Micros;
use serde::{Serialize, Serializer};
use uuid::Uuid;

/// Structs of which only the members that are known are written.
macro_rules! parts {
    ($($(#[$about:meta])* $name:ident { $($member:ident $(= $rename:literal)?: $type:ty,)* })*) => {
        $(
            $(#[$about])*
            #[derive(Clone, Debug, Default, Serialize)]
            pub(super) struct $name {
                $(
                    #[serde(skip_serializing_if = "Option::is_none" $(, rename = $rename)?)]
                    pub(super) $member: Option<$type>,
                )*
            }
        )*
    };
}

parts! {
    /// A document's source.
    Source {
        timestamp = "@timestamp": Time,
        ecs: Ecs,
        event: EventPart,
        service: Service,
        trace: Id,
        span: Id,
        user: Id,
        session: Id,
        labels: BTreeMap<Arc<str>, Arc<str>>,
        error: ErrorPart,
        gen_ai: GenAi,
        http: Http,
        url: Url,
        dify: Box<Dify>,
    }
    Ecs { version: &'static str, }
    EventPart {
        kind: &'static str,
        category: &'static str,
        action: &'static str,
        dataset: &'static str,
        outcome: &'static str,
        duration: i64,
        start: Time,
        end: Time,
    }
    Service { name: &'static str, }
    Id { id: String, }
    ErrorPart {
        error_type = "type": Word,
        message: String,
        fingerprint: String,
    }
    GenAi {
        operation: Name,
        provider: Name,
        request: Request,
        response: Response,
        usage: TokenUsage,
        conversation: Id,
        tool: Name,
    }
    Name { name: Word, }
    Request { model: Word, }
    Response { finish_reasons: Vec<Word>, }
    TokenUsage { input_tokens: u64, output_tokens: u64, }
    Http { request: HttpRequest, response: HttpResponse, }
    HttpRequest { method: Word, }
    HttpResponse { status_code: u64, }
    Url { domain: String, path: String, }
    Dify {
        tenant_id: Uuid,
        status: Word,
        triggered_from: Word,
        invoke_from: Word,
        debugging: bool,
        workflow_run_id: Uuid,
        conversation_id: Uuid,
        message_id: Uuid,
        inputs: String,
        outputs: String,
        process_data: String,
        app: AppPart,
        user: UserPart,
        workflow: WorkflowPart,
        run: Box<RunPart>,
        node: Box<NodePart>,
        model: ModelPart,
        usage: UsagePart,
        message: Box<MessagePart>,
        tool: Box<ToolPart>,
        retrieval: Box<RetrievalPart>,
        feedback: FeedbackPart,
    }
    AppPart { id: Uuid, name: Word, mode: Word, tags: Vec<Word>, }
    UserPart { role: &'static str, first_seen: Time, age: &'static str, }
    WorkflowPart { id: Uuid, version: Word, }
    RunPart {
        run_type = "type": Word,
        total_tokens: i64,
        total_steps: i32,
        exceptions_count: i32,
        input_tokens: u64,
        output_tokens: u64,
        cost: Vec<f64>,
        currency: Vec<Word>,
        model_calls: u64,
        nodes: u64,
        retries: u64,
        node_types: Vec<Word>,
        failed_nodes: Vec<Word>,
        failed_node_types: Vec<Word>,
        error_types: Vec<Word>,
        models: Vec<Word>,
        providers: Vec<Word>,
        tools: Vec<Word>,
        failed_tools: Vec<Word>,
        timed_out_tools: Vec<Word>,
        failed_tool_count: u64,
        tool_errors: Vec<Word>,
        retrievals: u64,
        retrieval_misses: u64,
        limit_exceeded: bool,
        first_cause: CausePart,
        slowest_node: SlowestPart,
    }
    CausePart { error_type: Word, node_id: Word, node_type: Word, node_title: String, tool: Word, }
    SlowestPart { id: Word, node_type = "type": Word, title: String, seconds: f64, }
    NodePart {
        id: Word,
        execution_id: Uuid,
        node_type = "type": Word,
        title: String,
        index: i32,
        predecessor_id: Word,
        iteration_id: Word,
        iteration_index: u64,
        loop_id: Word,
        loop_index: u64,
        retries: u64,
        error_strategy: Word,
        soft_failure: Word,
        repeats_child: bool,
    }
    ModelPart { provider: Word, seconds: f64, first_token_seconds: f64, }
    UsagePart { total_tokens: u64, cost: f64, currency: Word, requests: u64, }
    MessagePart {
        query: String,
        answer: String,
        turn: u32,
        parent_id: Uuid,
        status: Word,
        seconds: f64,
        input_tokens: i64,
        output_tokens: i64,
        cost: f64,
        currency: Word,
        from_source: Word,
        agent_based: bool,
        annotation_reply: bool,
        retrieval: &'static str,
        citations: u64,
        first_token_seconds: f64,
        previous: PreviousPart,
    }
    PreviousPart { message_id: Uuid, status: Word, retrieval: &'static str, feedback: Word, }
    ToolPart {
        name: Word,
        provider: Word,
        provider_type: Word,
        plugin_id: Word,
        plugin_version: Word,
        caller: &'static str,
        round: i32,
        input: String,
        output: String,
    }
    RetrievalPart {
        query: String,
        result: &'static str,
        count: u64,
        dataset_ids: Vec<Word>,
        datasets: Vec<String>,
        missed_dataset_ids: Vec<Word>,
        document_ids: Vec<Word>,
        documents: Vec<String>,
        scores: Vec<f64>,
        top_score: f64,
    }
    FeedbackPart { rating: Word, action: &'static str, source: Word, content: String, }
}

/// A time as engines read it: RFC 3339 in UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time(Micros);

/// 9999-12-31T23:59:59.999999Z: engines know no later time by default.
const LAST: i64 = 253_402_300_799_999_999;

impl Time {
    /// The time, or the nearest that an engine takes: PostgreSQL knows `infinity`.
    pub(super) fn nearest(time: Micros) -> Time {
        Time(Micros(time.0.clamp(0, LAST)))
    }

    /// The time, if an engine takes it.
    pub(super) fn of(time: Micros) -> Option<Time> {
        (0..=LAST).contains(&time.0).then_some(Time(time))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// `None` for a list that is empty: an engine makes no difference between the two.
pub(super) fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// A number that JSON can hold.
pub(super) fn finite(number: f64) -> Option<f64> {
    number.is_finite().then_some(number)
}
