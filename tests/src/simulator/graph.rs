//! The canvas JSON of a workflow: what `workflows.graph` and every run's `graph` hold.

use super::{
    json::{Json, object},
    plan::{Kind, Node, Plan, Step},
    world::World,
};

/// The graph of a plan. Positions and edges are plain; what a reader looks up (models, tools, knowledge bases) is there.
pub(crate) fn graph(plan: &Plan, world: &World) -> Json {
    let mut nodes = Vec::new();
    let mut edges = Vec::new();
    let mut previous: Vec<(String, &'static str)> = Vec::new();
    for step in plan {
        let entries: Vec<&Node> = match step {
            Step::Parallel(branches) => branches.iter().filter_map(|branch| branch.first()).collect(),
            step => step.nodes().into_iter().take(1).collect(),
        };
        for (source, source_type) in &previous {
            edges.extend(entries.iter().map(|node| edge(source, source_type, &node.id, node.kind.word())));
        }
        previous = exits(step);
        nodes.extend(step_nodes(step, world));
    }
    object! {
        "edges" => edges,
        "nodes" => nodes,
        "viewport" => object! { "x" => 0, "y" => 0, "zoom" => 1 },
    }
}

fn exits(step: &Step) -> Vec<(String, &'static str)> {
    let of = |node: &Node| (node.id.clone(), node.kind.word());
    match step {
        Step::Parallel(branches) => branches.iter().filter_map(|branch| branch.last()).map(of).collect(),
        step => step.nodes().into_iter().take(1).map(of).collect(),
    }
}

fn edge(source: &str, source_type: &str, target: &str, target_type: &str) -> Json {
    object! {
        "data" => object! { "isInIteration" => false, "isInLoop" => false, "sourceType" => source_type, "targetType" => target_type },
        "id" => format!("{source}-source-{target}"),
        "source" => source,
        "sourceHandle" => "source",
        "target" => target,
        "targetHandle" => "target",
        "type" => "custom",
        "zIndex" => 0,
    }
}

fn step_nodes(step: &Step, world: &World) -> Vec<Json> {
    let plain = |node: &Node| wrap(node, data(node, world));
    match step {
        Step::Node(node) => vec![plain(node)],
        Step::Parallel(branches) => branches.iter().flatten().map(plain).collect(),
        Step::Iteration { node, children, parallel, continue_on_error } => {
            let start = format!("{}start", node.id);
            let container = data(node, world)
                .with("start_node_id", start.as_str())
                .with("is_parallel", *parallel)
                .with("error_handle_mode", if *continue_on_error { "continue-on-error" } else { "terminated" });
            inside(node, container, &start, "iteration-start", "iteration_id", children, world)
        }
        Step::Loop { node, children } => {
            let start = format!("{}start", node.id);
            let container = data(node, world).with("start_node_id", start.as_str()).with("loop_count", 5);
            inside(node, container, &start, "loop-start", "loop_id", children, world)
        }
    }
}

fn inside(node: &Node, container: Json, start: &str, start_type: &str, key: &str, children: &[Node], world: &World) -> Vec<Json> {
    let flag = if key == "loop_id" { "isInLoop" } else { "isInIteration" };
    let start_data = object! { "desc" => "", "title" => "", "type" => start_type, flag => true };
    let mut nodes = vec![wrap(node, container)];
    nodes.push(object! { "data" => start_data, "id" => start, "parentId" => node.id.as_str(), "type" => "custom" });
    nodes.extend(children.iter().map(|child| {
        let inner = data(child, world).with(flag, true).with(key, node.id.as_str());
        wrap(child, inner).with("parentId", node.id.as_str())
    }));
    nodes
}

fn wrap(node: &Node, data: Json) -> Json {
    object! {
        "data" => data,
        "height" => 90,
        "id" => node.id.as_str(),
        "position" => object! { "x" => 0, "y" => 200 },
        "selected" => false,
        "sourcePosition" => "right",
        "targetPosition" => "left",
        "type" => "custom",
        "width" => 244,
    }
}

fn data(node: &Node, world: &World) -> Json {
    let mut data = object! {
        "desc" => "",
        "selected" => false,
        "title" => node.title.as_str(),
        "type" => node.kind.word(),
        "retry_config" => object! {
            "max_retries" => node.retries.max(1), "retry_enabled" => node.retries > 0, "retry_interval" => 100,
        },
    };
    if let Some(strategy) = node.on_error.word() {
        data = data.with("error_strategy", strategy);
    }
    match node.kind {
        Kind::Start => data.with("variables", vec![variable("category"), variable("q")]),
        Kind::Llm(model) | Kind::Classifier(model) | Kind::Extractor(model) => data.with(
            "model",
            object! {
                "completion_params" => object! { "temperature" => Json::float(0.7) },
                "mode" => "chat", "name" => model.name, "provider" => model.provider,
            },
        ),
        Kind::Agent(model) => data.with("agent_strategy_name", "function_calling").with(
            "agent_parameters",
            object! {
                "model" => object! {
                    "type" => "constant",
                    "value" => object! { "provider" => model.provider, "model" => model.name, "model_type" => "llm", "mode" => "chat" },
                },
            },
        ),
        Kind::Tool(tool) => data
            .with("provider_id", tool.provider)
            .with("provider_name", tool.provider)
            .with("provider_type", tool.node_provider_type)
            .with("tool_name", tool.name)
            .with("tool_label", tool.name)
            .with("tool_parameters", object! {}),
        Kind::Workflow => data
            .with("provider_id", world.child_provider)
            .with("provider_name", "Ask the desk")
            .with("provider_type", "workflow")
            .with("tool_name", "ask_the_desk")
            .with("tool_label", "Ask the desk"),
        Kind::Retrieval => {
            let ids = world.datasets.iter().take(1).map(|dataset| dataset.id.into()).collect::<Vec<Json>>();
            data.with("dataset_ids", ids).with("retrieval_mode", "multiple")
        }
        Kind::Http => data.with("method", "get").with("url", "http://stock.internal/items"),
        _ => data,
    }
}

fn variable(name: &str) -> Json {
    object! { "label" => name, "max_length" => 4000, "options" => Vec::<Json>::new(), "required" => false, "type" => "paragraph", "variable" => name }
}
