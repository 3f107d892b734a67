//! What a workflow app consists of: its nodes and the order in which they run.

use super::{
    model::{GPT, GPT_MINI, LOCAL, Model, QWEN},
    profile::Profile,
};

/// A tool as a node or an agent uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// `stock_lookup`.
    pub name: &'static str,
    /// `demo/shop/shop`, or `time` for a built-in one.
    pub provider: &'static str,
    /// As node rows show it: plugin tools say `builtin` too.
    pub node_provider_type: &'static str,
    /// As agent thoughts show it.
    pub thought_provider_type: &'static str,
}

/// A plugin's tool.
pub const STOCK: Tool =
    Tool { name: "stock_lookup", provider: "demo/shop/shop", node_provider_type: "builtin", thought_provider_type: "plugin" };
/// Another tool of the plugin, one that often fails.
pub const BROKEN: Tool = Tool { name: "broken_lookup", ..STOCK };
/// A built-in tool.
pub const TIME: Tool = Tool { name: "current_time", provider: "time", node_provider_type: "builtin", thought_provider_type: "builtin" };
/// Another built-in tool.
pub const WEEKDAY: Tool = Tool { name: "weekday", ..TIME };
/// A tool of an imported API.
pub const PETSTORE: Tool = Tool { name: "find_pets", provider: "petstore", node_provider_type: "api", thought_provider_type: "api" };

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// The entry.
    Start,
    /// The exit of a workflow.
    End,
    /// The exit of a chatflow.
    Answer,
    /// A model call.
    Llm(Model),
    /// A model chooses a class.
    Classifier(Model),
    /// A model fills in parameters.
    Extractor(Model),
    /// An agent with a strategy plugin.
    Agent(Model),
    /// A tool call.
    Tool(Tool),
    /// Another workflow as a tool.
    Workflow,
    /// An HTTP request.
    Http,
    /// A branch.
    IfElse,
    /// Python or JavaScript.
    Code,
    /// A Jinja template.
    Template,
    /// Joins branches.
    Aggregator,
    /// Sets conversation variables.
    Assigner,
    /// Looks things up in a knowledge base.
    Retrieval,
    /// Runs its children for each item.
    Iteration,
    /// Runs its children until a condition holds.
    Loop,
    /// Waits for a person.
    Human,
    /// The entry of a webhook run.
    Webhook,
    /// The entry of a scheduled run.
    Schedule,
}

impl Kind {
    /// The word in `node_type`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::End => "end",
            Self::Answer => "answer",
            Self::Llm(_) => "llm",
            Self::Classifier(_) => "question-classifier",
            Self::Extractor(_) => "parameter-extractor",
            Self::Agent(_) => "agent",
            Self::Tool(_) | Self::Workflow => "tool",
            Self::Http => "http-request",
            Self::IfElse => "if-else",
            Self::Code => "code",
            Self::Template => "template-transform",
            Self::Aggregator => "variable-aggregator",
            Self::Assigner => "assigner",
            Self::Retrieval => "knowledge-retrieval",
            Self::Iteration => "iteration",
            Self::Loop => "loop",
            Self::Human => "human-input",
            Self::Webhook => "trigger-webhook",
            Self::Schedule => "trigger-schedule",
        }
    }

    /// Median working time in milliseconds.
    pub fn median_ms(&self) -> i64 {
        match self {
            Self::Llm(_) => 1_400,
            Self::Classifier(_) | Self::Extractor(_) => 600,
            Self::Agent(_) => 3_500,
            Self::Tool(_) => 300,
            Self::Http => 180,
            Self::Retrieval => 120,
            Self::Code => 60,
            _ => 8,
        }
    }

    /// Whether the node can fail by itself.
    pub fn can_fail(&self) -> bool {
        matches!(
            self,
            Self::Llm(_)
                | Self::Classifier(_)
                | Self::Extractor(_)
                | Self::Agent(_)
                | Self::Tool(_)
                | Self::Http
                | Self::Code
                | Self::Retrieval
        )
    }
}

/// What happens when a node has failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The run fails.
    Abort,
    /// The node's default outputs are used.
    DefaultValue,
    /// The branch for failures is taken.
    FailBranch,
}

impl OnError {
    /// The word in `error_strategy`.
    pub fn word(&self) -> Option<&'static str> {
        match self {
            Self::Abort => None,
            Self::DefaultValue => Some("default-value"),
            Self::FailBranch => Some("fail-branch"),
        }
    }
}

/// A node of the canvas.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its id on the canvas.
    pub id: String,
    /// The author's title.
    pub title: String,
    /// What it does.
    pub kind: Kind,
    /// What its failure does.
    pub on_error: OnError,
    /// How often it is tried again.
    pub retries: i64,
}

impl Node {
    fn new(id: &str, title: &str, kind: Kind) -> Self {
        Self { id: id.to_owned(), title: title.to_owned(), kind, on_error: OnError::Abort, retries: 0 }
    }

    fn retrying(mut self, retries: i64) -> Self {
        self.retries = retries;
        self
    }

    fn handled(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }
}

/// A part of a workflow.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// One node.
    Node(Node),
    /// Branches that run at the same time.
    Parallel(Vec<Vec<Node>>),
    /// An iteration over a list.
    Iteration {
        /// The container.
        node: Node,
        /// What runs for each item.
        children: Vec<Node>,
        /// All items at once.
        parallel: bool,
        /// A failed item becomes null.
        continue_on_error: bool,
    },
    /// A loop.
    Loop {
        /// The container.
        node: Node,
        /// What runs in each round.
        children: Vec<Node>,
    },
}

impl Step {
    /// All nodes of the step, the container first.
    pub fn nodes(&self) -> Vec<&Node> {
        match self {
            Self::Node(node) => vec![node],
            Self::Parallel(branches) => branches.iter().flatten().collect(),
            Self::Iteration { node, children, .. } | Self::Loop { node, children } => std::iter::once(node).chain(children).collect(),
        }
    }
}

/// What a workflow or chatflow runs, first to last.
pub type Plan = Vec<Step>;

/// The kinds of apps, as `apps.mode` and content go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppKind {
    /// A workflow with this plan.
    Workflow(Flow),
    /// A chatflow with this plan.
    Chatflow(Flow),
    /// A chat with a model.
    Chat {
        /// Its model.
        model: Model,
        /// Answers from a knowledge base.
        knowledge: bool,
    },
    /// A text generator.
    Completion,
    /// A chat whose model calls tools.
    AgentChat,
}

/// The plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says which node the plan is about")]
pub enum Flow {
    Llm,
    Branches,
    Http,
    Parallel,
    Iteration,
    ParallelIteration,
    Loop,
    Extract,
    Fallback,
    Retry,
    Parent,
    Agent,
    Webhook,
    Schedule,
    Human,
    Knowledge,
    TwoCurrencies,
}

/// All kinds of apps, in the order in which a simulation takes them.
pub fn kinds(profile: &Profile) -> Vec<AppKind> {
    let mut kinds = vec![
        AppKind::Workflow(Flow::Llm),
        AppKind::Chatflow(Flow::Knowledge),
        AppKind::Chat { model: GPT_MINI, knowledge: true },
        AppKind::Workflow(Flow::Branches),
        AppKind::AgentChat,
        AppKind::Workflow(Flow::Http),
        AppKind::Workflow(Flow::Parallel),
        AppKind::Completion,
        AppKind::Workflow(Flow::Retry),
        AppKind::Workflow(Flow::Fallback),
        AppKind::Workflow(Flow::Iteration),
        AppKind::Chatflow(Flow::TwoCurrencies),
        AppKind::Workflow(Flow::Loop),
        AppKind::Workflow(Flow::Parent),
        AppKind::Chat { model: QWEN, knowledge: false },
        AppKind::Workflow(Flow::Extract),
        AppKind::Workflow(Flow::Agent),
        AppKind::Chatflow(Flow::Iteration),
        AppKind::Workflow(Flow::ParallelIteration),
    ];
    if profile.triggers {
        kinds.extend([AppKind::Workflow(Flow::Webhook), AppKind::Workflow(Flow::Schedule)]);
    }
    if profile.pauses {
        kinds.extend([AppKind::Workflow(Flow::Human), AppKind::Chatflow(Flow::Human)]);
    }
    kinds
}

fn node(id: &str, title: &str, kind: Kind) -> Step {
    Step::Node(Node::new(id, title, kind))
}

/// The plan of a flow; a chatflow ends with an answer instead of an end node.
pub fn plan(flow: Flow, chatflow: bool) -> Plan {
    let start = match flow {
        Flow::Webhook => node("wh", "Webhook", Kind::Webhook),
        Flow::Schedule => node("sch", "Schedule", Kind::Schedule),
        _ => node("start", "Start", Kind::Start),
    };
    let mut plan = vec![start];
    plan.extend(middle(flow));
    plan.push(if chatflow { node("answer", "Answer", Kind::Answer) } else { node("end", "End", Kind::End) });
    plan
}

fn middle(flow: Flow) -> Plan {
    let llm = |id: &str, title: &str, model| Node::new(id, title, Kind::Llm(model));
    match flow {
        Flow::Llm => vec![Step::Node(llm("llm", "LLM", GPT_MINI))],
        Flow::Branches => vec![
            node("qc", "Classify", Kind::Classifier(GPT_MINI)),
            node("if", "IF", Kind::IfElse),
            node("stock", "Stock (shop)", Kind::Tool(STOCK)),
            Step::Node(llm("llm", "回答", GPT)),
            node("tpl", "Template", Kind::Template),
        ],
        Flow::Http | Flow::Webhook => {
            vec![node("http", "HTTP", Kind::Http), node("if", "IF", Kind::IfElse), node("code", "Code", Kind::Code)]
        }
        Flow::Parallel => vec![
            Step::Parallel(vec![
                vec![llm("la", "Left", GPT_MINI)],
                vec![llm("lb", "Right", QWEN)],
                vec![Node::new("http", "HTTP", Kind::Http), Node::new("code", "Code", Kind::Code)],
            ]),
            node("agg", "Agg", Kind::Aggregator),
        ],
        Flow::Iteration | Flow::ParallelIteration => vec![
            node("split", "Split", Kind::Code),
            Step::Iteration {
                node: Node::new("it", "Iter", Kind::Iteration),
                children: vec![llm("il", "In iteration", GPT_MINI)],
                parallel: flow == Flow::ParallelIteration,
                continue_on_error: flow == Flow::ParallelIteration,
            },
        ],
        Flow::Loop => vec![Step::Loop {
            node: Node::new("lp", "Loop", Kind::Loop),
            children: vec![llm("ll", "In loop", LOCAL), Node::new("lt", "find_pets", Kind::Tool(PETSTORE))],
        }],
        Flow::Extract => vec![
            node("pe", "Extract", Kind::Extractor(GPT_MINI)),
            node("t1", "current_time", Kind::Tool(TIME)),
            node("t2", "broken_lookup", Kind::Tool(BROKEN)),
        ],
        Flow::Fallback => vec![
            Step::Node(llm("llm", "LLM", GPT_MINI).handled(OnError::DefaultValue).retrying(1)),
            Step::Node(Node::new("http", "HTTP", Kind::Http).handled(OnError::FailBranch)),
            Step::Node(llm("l2", "Second", QWEN).handled(OnError::FailBranch)),
        ],
        Flow::Retry => {
            vec![Step::Node(llm("llm", "LLM", GPT_MINI).retrying(3)), Step::Node(Node::new("http", "HTTP", Kind::Http).retrying(3))]
        }
        Flow::Parent => vec![node("child", "Ask the desk", Kind::Workflow), Step::Node(llm("llm", "LLM", GPT_MINI))],
        Flow::Agent => vec![node("ag", "Agent", Kind::Agent(GPT_MINI))],
        Flow::Schedule => vec![node("http", "HTTP", Kind::Http), Step::Node(llm("llm", "Summary", LOCAL))],
        Flow::Human => vec![
            Step::Node(llm("llm", "Draft", GPT_MINI)),
            node("human", "Approve", Kind::Human),
            node("stock", "Reserve", Kind::Tool(STOCK)),
        ],
        Flow::Knowledge => {
            vec![node("kb", "KB", Kind::Retrieval), Step::Node(llm("llm", "LLM", GPT_MINI)), node("as", "Assign", Kind::Assigner)]
        }
        Flow::TwoCurrencies => vec![Step::Node(llm("l1", "First", GPT_MINI)), Step::Node(llm("l2", "Second", QWEN))],
    }
}
