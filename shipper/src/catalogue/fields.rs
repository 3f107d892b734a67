//! The list itself, in the order of the documentation.

use super::{Field, FieldType};
use crate::document::Kind::{self, Feedback, Message, NodeExecution, Retrieval, ToolCall, WorkflowRun};

const ALL: &[Kind] = &[WorkflowRun, NodeExecution, Message, ToolCall, Retrieval, Feedback];
const WITH_LOGS: &[Kind] = &Kind::ALL;
const RUNS: &[Kind] = &[WorkflowRun];
const NODES: &[Kind] = &[NodeExecution];
const MESSAGES: &[Kind] = &[Message];
const TOOLS: &[Kind] = &[ToolCall];
const RETRIEVALS: &[Kind] = &[Retrieval];
const FEEDBACKS: &[Kind] = &[Feedback];
const EXECUTIONS: &[Kind] = &[WorkflowRun, NodeExecution, Message, ToolCall, Retrieval];
const OF_RUNS: &[Kind] = &[WorkflowRun, NodeExecution, ToolCall, Retrieval];
const IN_NODES: &[Kind] = &[NodeExecution, ToolCall, Retrieval];
const FAILING: &[Kind] = &[WorkflowRun, NodeExecution, Message, ToolCall, Feedback];
const OF_MODELS: &[Kind] = &[NodeExecution, Message, Feedback];
const SPENDING: &[Kind] = &[NodeExecution, Message];
const WITH_INPUTS: &[Kind] = &[WorkflowRun, NodeExecution, Message];
const WITH_OUTPUTS: &[Kind] = &[WorkflowRun, NodeExecution];
const OF_MESSAGES: &[Kind] = &[Message, Feedback];
const INVOKED: &[Kind] = &[Message, ToolCall, Retrieval, Feedback];

impl Field {
    const fn content(mut self) -> Self {
        self.content = true;
        self.sensitive = true;
        self
    }

    const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }
}

const fn field(path: &'static str, field_type: FieldType, kinds: &'static [Kind], meaning: &'static str) -> Field {
    Field { path, field_type, kinds, meaning, content: false, sensitive: false }
}

const fn keyword(path: &'static str, kinds: &'static [Kind], meaning: &'static str) -> Field {
    field(path, FieldType::Keyword, kinds, meaning)
}

const fn text(path: &'static str, kinds: &'static [Kind], meaning: &'static str) -> Field {
    field(path, FieldType::Text, kinds, meaning)
}

const fn named(path: &'static str, kinds: &'static [Kind], meaning: &'static str) -> Field {
    field(path, FieldType::TextKeyword, kinds, meaning)
}

const fn long(path: &'static str, kinds: &'static [Kind], meaning: &'static str) -> Field {
    field(path, FieldType::Long, kinds, meaning)
}

const fn double(path: &'static str, kinds: &'static [Kind], meaning: &'static str) -> Field {
    field(path, FieldType::Double, kinds, meaning)
}

const fn date(path: &'static str, kinds: &'static [Kind], meaning: &'static str) -> Field {
    field(path, FieldType::Date, kinds, meaning)
}

const fn boolean(path: &'static str, kinds: &'static [Kind], meaning: &'static str) -> Field {
    field(path, FieldType::Boolean, kinds, meaning)
}

/// Every field of every document.
pub const FIELDS: &[Field] = &[
    date(
        "@timestamp",
        WITH_LOGS,
        "When the record was created; of a tool call or retrieval, when its caller was; of a log line, when it was written",
    ),
    keyword("ecs.version", ALL, "The version of the Elastic Common Schema"),
    keyword("event.kind", ALL, "Always `event`"),
    keyword("event.category", ALL, "`process` (runs, nodes), `api` (messages, tool calls, feedback) or `database` (retrievals)"),
    keyword("event.action", ALL, "The kind; of a feedback `feedback-created`, `feedback-changed` or `feedback-withdrawn`"),
    keyword("event.dataset", ALL, "`dify.<kind>`"),
    keyword(
        "event.outcome",
        EXECUTIONS,
        "`success`, `failure` (a run stopped by one of Dify's limits too) or `unknown` (stopped by a person, abandoned, not finished)",
    ),
    long("event.duration", EXECUTIONS, "How long it took, in nanoseconds; of a message, until the answer was complete"),
    date("event.start", EXECUTIONS, "When it began"),
    date("event.end", EXECUTIONS, "When it ended"),
    keyword("service.name", ALL, "Always `dify`"),
    keyword("trace.id", ALL, "The run's id (the message's where there is no run) as 32 hex digits: everything that happened in one run"),
    keyword("span.id", EXECUTIONS, "The last 16 hex digits of the record's id"),
    keyword("user.id", ALL, "The id of the end user or the account").sensitive(),
    keyword("session.id", ALL, "The end user as the caller of the API named them (`user`)").sensitive(),
    field("labels", FieldType::Labels, ALL, "The operator's labels (`[labels]`)"),
    keyword("error.type", FAILING, "One of a closed list of error types; of a run, that of its first cause"),
    named("error.message", FAILING, "What it failed with, or what an attempt before it failed with (`dify.status` tells)").sensitive(),
    keyword(
        "error.fingerprint",
        FAILING,
        "Equal for failures that differ in numbers, ids and quoted values only; of a run, that of its first cause",
    ),
    keyword("gen_ai.operation.name", &[NodeExecution, Message, ToolCall], "`chat`, `text_completion`, `invoke_agent` or `execute_tool`"),
    keyword("gen_ai.provider.name", OF_MODELS, "The provider by its name in the semantic conventions, where it has one there"),
    keyword("gen_ai.request.model", OF_MODELS, "The model; of a feedback, that of the rated message"),
    keyword("gen_ai.response.finish_reasons", NODES, "Why the model ended its answer"),
    long("gen_ai.usage.input_tokens", SPENDING, "Input tokens"),
    long("gen_ai.usage.output_tokens", SPENDING, "Output tokens"),
    keyword("gen_ai.conversation.id", SPENDING, "The conversation of a model call"),
    keyword("gen_ai.tool.name", TOOLS, "The tool"),
    keyword("http.request.method", NODES, "What an HTTP request node sent"),
    long("http.response.status_code", NODES, "What an HTTP request node was answered with"),
    keyword("url.domain", NODES, "The host that an HTTP request node asked").sensitive(),
    keyword("url.path", NODES, "The path that an HTTP request node asked for, without its query").sensitive(),
    keyword("dify.tenant_id", ALL, "The workspace"),
    keyword(
        "dify.status",
        EXECUTIONS,
        "The final status as Dify stores it, or `abandoned` (never ended), `aborted` (repeats its run's error), `interrupted` (its run ended, it never did); of a retrieval, its caller's",
    ),
    keyword("dify.triggered_from", OF_RUNS, "What started the run: `app-run`, `debugging`, `webhook`, `schedule`, `plugin` …"),
    keyword("dify.invoke_from", INVOKED, "Where a message came from: `service-api`, `web-app`, `explore`, `debugger` …"),
    boolean("dify.debugging", ALL, "Made while somebody built the app: to be left out of most figures"),
    keyword("dify.workflow_run_id", ALL, "The workflow run"),
    keyword("dify.conversation_id", ALL, "The conversation"),
    keyword("dify.message_id", ALL, "The message"),
    text("dify.inputs", WITH_INPUTS, "Inputs, as JSON text").content(),
    text("dify.outputs", WITH_OUTPUTS, "Outputs, as JSON text").content(),
    text("dify.process_data", NODES, "What a node worked with, as JSON text: prompts of a model, the request of an HTTP request").content(),
    keyword("dify.app.id", ALL, "The app; of a knowledge pipeline or a snippet, its id"),
    named("dify.app.name", ALL, "The app's name when the document was made").sensitive(),
    keyword("dify.app.mode", ALL, "`workflow`, `advanced-chat`, `chat`, `agent-chat`, `completion` …; `deleted` when the app is gone"),
    keyword("dify.app.tags", ALL, "The app's tags").sensitive(),
    keyword("dify.user.role", ALL, "`end_user` or `account`"),
    date("dify.user.first_seen", ALL, "When the app first saw the end user"),
    keyword("dify.user.age", ALL, "`new` in the first hour after that, then `returning`"),
    keyword("dify.workflow.id", OF_RUNS, "The version of the workflow, by its id"),
    keyword("dify.workflow.version", OF_RUNS, "`draft`, or when it was published"),
    keyword("dify.run.type", RUNS, "`workflow`, `chat`, `rag-pipeline`, `snippet`"),
    long("dify.run.total_tokens", RUNS, "Tokens as Dify stores them with the run"),
    long("dify.run.total_steps", RUNS, "Steps as Dify counts them"),
    long("dify.run.exceptions_count", RUNS, "Failures that were handled, and since 1.12 retries, as Dify counts them"),
    long("dify.run.input_tokens", RUNS, "Input tokens of its nodes, without those of workflows used as tools"),
    long("dify.run.output_tokens", RUNS, "Output tokens of its nodes, likewise"),
    double(
        "dify.run.cost",
        RUNS,
        "Money its nodes spent; where several currencies were, one number for each, in the order of `dify.run.currency`",
    ),
    keyword("dify.run.currency", RUNS, "The currency or currencies of that, in alphabetical order"),
    long("dify.run.model_calls", RUNS, "Requests to models"),
    long("dify.run.nodes", RUNS, "Node executions, without failed attempts"),
    long("dify.run.retries", RUNS, "Attempts that failed and were made again, as far as Dify keeps them"),
    keyword("dify.run.node_types", RUNS, "Types of its nodes"),
    keyword("dify.run.failed_nodes", RUNS, "Ids on the canvas of the nodes that failed, handled or not"),
    keyword("dify.run.failed_node_types", RUNS, "Types of the nodes that failed, handled or not"),
    keyword(
        "dify.run.error_types",
        RUNS,
        "Error types of everything that failed in it: the run, nodes, tool calls, answers that Dify stores as success although they are none",
    ),
    keyword("dify.run.models", RUNS, "Models that were called"),
    keyword("dify.run.providers", RUNS, "Their providers, as Dify names them"),
    keyword("dify.run.tools", RUNS, "Tools that were called"),
    keyword("dify.run.failed_tools", RUNS, "Tools of which a call failed, in whatever way"),
    keyword("dify.run.timed_out_tools", RUNS, "Tools of which a call failed by its time"),
    long("dify.run.failed_tool_count", RUNS, "How many tools had a call that failed"),
    keyword("dify.run.tool_errors", RUNS, "`<tool>:<error type>` of each tool call that failed"),
    long("dify.run.retrievals", RUNS, "Searches in data sets"),
    long("dify.run.retrieval_misses", RUNS, "Searches that found nothing"),
    boolean("dify.run.limit_exceeded", RUNS, "One of Dify's own limits ended it"),
    keyword("dify.run.first_cause.error_type", RUNS, "The error type of its first cause"),
    keyword("dify.run.first_cause.node_id", RUNS, "The node, by its id on the canvas"),
    keyword("dify.run.first_cause.node_type", RUNS, "The type of the node"),
    named("dify.run.first_cause.node_title", RUNS, "The title of the node").sensitive(),
    keyword("dify.run.first_cause.tool", RUNS, "The tool, where a tool node was the cause"),
    keyword("dify.run.slowest_node.id", RUNS, "The node that took longest, iterations and loops aside, by its id on the canvas"),
    keyword("dify.run.slowest_node.type", RUNS, "Its type"),
    named("dify.run.slowest_node.title", RUNS, "Its title").sensitive(),
    double("dify.run.slowest_node.seconds", RUNS, "How long it took"),
    keyword("dify.node.id", IN_NODES, "The node, by its id on the canvas"),
    keyword("dify.node.execution_id", IN_NODES, "The row of this execution"),
    keyword("dify.node.type", IN_NODES, "`llm`, `tool`, `code`, `http-request`, `knowledge-retrieval` …"),
    named("dify.node.title", IN_NODES, "The title that the author gave it").sensitive(),
    long("dify.node.index", NODES, "Its place in the order of starts"),
    keyword("dify.node.predecessor_id", NODES, "The node that led to it"),
    keyword("dify.node.iteration_id", IN_NODES, "The iteration that it is in, by its id on the canvas"),
    long("dify.node.iteration_index", IN_NODES, "Which round of it, from 0"),
    keyword("dify.node.loop_id", IN_NODES, "The loop that it is in, by its id on the canvas"),
    long("dify.node.loop_index", IN_NODES, "Which round of it, from 0"),
    long("dify.node.retries", NODES, "Failed attempts that Dify kept inside its row (1.16 and newer)"),
    keyword("dify.node.error_strategy", NODES, "How a failure was handled: `fail-branch` or `default-value`"),
    keyword(
        "dify.node.soft_failure",
        NODES,
        "The error type of a failure that Dify stores as success: an HTTP answer other than 2xx, an extraction without result",
    ),
    boolean("dify.node.repeats_child", NODES, "An iteration or loop that failed because a node inside of it did"),
    keyword("dify.model.provider", OF_MODELS, "The provider as Dify names it, such as `langgenius/openai/openai`"),
    double("dify.model.seconds", NODES, "How long the model took, as the provider's plugin measured it, or else the node"),
    double("dify.model.first_token_seconds", NODES, "Until its first token (1.10 and newer, streamed)"),
    long("dify.usage.total_tokens", SPENDING, "Tokens that are counted nowhere else"),
    double("dify.usage.cost", SPENDING, "Money that is counted nowhere else"),
    keyword("dify.usage.currency", SPENDING, "Its currency"),
    long("dify.usage.requests", SPENDING, "Requests to the model"),
    text("dify.message.query", OF_MESSAGES, "The question").content(),
    text("dify.message.answer", OF_MESSAGES, "The answer").content(),
    long("dify.message.turn", OF_MESSAGES, "Which question of its conversation, from 1"),
    keyword("dify.message.parent_id", MESSAGES, "The message that it follows"),
    keyword("dify.message.status", FEEDBACKS, "The rated message's status"),
    double("dify.message.seconds", FEEDBACKS, "How long the rated message's answer took"),
    long(
        "dify.message.input_tokens",
        OF_MESSAGES,
        "Input tokens as Dify stores them with the message; of a chatflow doubled or missing in some versions",
    ),
    long("dify.message.output_tokens", OF_MESSAGES, "Output tokens, likewise"),
    double("dify.message.cost", OF_MESSAGES, "Money as Dify stores it with the message, likewise"),
    keyword("dify.message.currency", OF_MESSAGES, "Its currency; of a chatflow the last model's"),
    keyword("dify.message.from_source", OF_MESSAGES, "`api` or `console`"),
    boolean("dify.message.agent_based", MESSAGES, "An agent answered"),
    boolean("dify.message.annotation_reply", MESSAGES, "The answer came out of the annotations, from no model"),
    keyword(
        "dify.message.retrieval",
        OF_MESSAGES,
        "`hit` where the answer quotes a data set; a chat stores no misses, a chatflow's are in kind `retrieval`",
    ),
    long("dify.message.citations", OF_MESSAGES, "How many segments it quotes"),
    double("dify.message.first_token_seconds", MESSAGES, "From the question to the first text of the answer (chatflows of 1.10 and newer)"),
    keyword("dify.message.previous.message_id", MESSAGES, "The message before it in the conversation"),
    keyword("dify.message.previous.status", MESSAGES, "How that one ended"),
    keyword("dify.message.previous.retrieval", MESSAGES, "`miss` where its search found nothing, `hit` where it did"),
    keyword("dify.message.previous.feedback", MESSAGES, "What was thought of its answer: `like` or `dislike`"),
    keyword("dify.tool.name", TOOLS, "The tool; `unknown` where no row says it, or where a model made it up"),
    keyword(
        "dify.tool.provider",
        TOOLS,
        "Its provider, such as `time` or `demo/shop/shop`; the data set's id of a data set used as a tool",
    ),
    keyword("dify.tool.provider_type", TOOLS, "`builtin`, `plugin`, `api`, `workflow`, `mcp`, `dataset-retrieval`, `unknown`"),
    keyword("dify.tool.plugin_id", TOOLS, "The plugin, such as `demo/shop`"),
    keyword("dify.tool.plugin_version", TOOLS, "The plugin's version, where the row has it"),
    keyword("dify.tool.caller", TOOLS, "Who called it: `node`, `agent_node` or `agent_app`"),
    long("dify.tool.round", TOOLS, "Which round of an agent app's thoughts"),
    text("dify.tool.input", TOOLS, "What it was given, as JSON text").content(),
    text("dify.tool.output", TOOLS, "What it gave back, as text or JSON text").content(),
    text("dify.retrieval.query", RETRIEVALS, "What was searched for").content(),
    keyword("dify.retrieval.result", RETRIEVALS, "`hit` or `miss`"),
    long("dify.retrieval.count", RETRIEVALS, "How many segments were found"),
    keyword("dify.retrieval.dataset_ids", RETRIEVALS, "The data sets that were asked, as far as it is known"),
    keyword("dify.retrieval.datasets", RETRIEVALS, "Names of data sets, as the results or their rows have them").sensitive(),
    keyword("dify.retrieval.missed_dataset_ids", RETRIEVALS, "The data sets that had nothing"),
    keyword("dify.retrieval.document_ids", RETRIEVALS, "The documents that were found"),
    keyword("dify.retrieval.documents", RETRIEVALS, "Their names").sensitive(),
    double("dify.retrieval.scores", RETRIEVALS, "Scores of what was found; their scales differ between data sets"),
    double("dify.retrieval.top_score", RETRIEVALS, "The best of them"),
    keyword("dify.feedback.rating", FEEDBACKS, "`like` or `dislike`; of one that was withdrawn, the last one"),
    keyword("dify.feedback.action", FEEDBACKS, "`created`, `changed` or `withdrawn`"),
    keyword("dify.feedback.source", FEEDBACKS, "`user`, or `admin` for the console"),
    text("dify.feedback.content", FEEDBACKS, "The comment").content(),
];
