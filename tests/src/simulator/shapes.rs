//! What each type of node stores in its JSON columns, by release.

use rust_decimal::prelude::ToPrimitive;
use uuid::Uuid;

use super::{
    dice::Dice,
    errors::Failure,
    json::{Json, object},
    model::{Merged, Model, Usage},
    options::Faults,
    plan::Tool,
    profile::Profile,
    texts,
    trace::Shape,
    value::{MILLISECOND, Micros},
    world::Dataset,
};

/// What shapes are made from.
pub(crate) struct Shaper<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) faults: &'a Faults,
    pub(crate) category: &'a str,
    pub(crate) question: &'a str,
}

fn strings(items: &[&str]) -> Json {
    Json::List(items.iter().map(|item| Json::from(*item)).collect())
}

impl Shaper<'_> {
    fn prompts(&self) -> Json {
        let line = |role: &str, text: String| object! { "role" => role, "text" => text, "files" => Vec::<Json>::new() };
        Json::List(vec![
            line("system", "You answer shop questions briefly.".to_owned()),
            line("user", format!("{}: {}", self.category, self.question)),
        ])
    }

    fn model_call(&self, usage: &Usage) -> Json {
        object! {
            "model_mode" => "chat", "prompts" => self.prompts(), "usage" => usage.json(self.profile),
            "finish_reason" => "stop", "model_provider" => usage.model.provider, "model_name" => usage.model.name,
        }
    }

    /// A start node; newer releases keep only what the author declared.
    pub(crate) fn start(&self, all_inputs: &Json) -> Shape {
        let inputs = match (self.profile.start_projected, all_inputs) {
            (true, Json::Object(entries)) => Json::Object(entries.iter().filter(|(key, _)| !key.starts_with("sys.")).cloned().collect()),
            _ => all_inputs.clone(),
        };
        Shape { inputs: Some(inputs.clone()), outputs: Some(inputs), ..Shape::default() }
    }

    /// An llm node.
    pub(crate) fn llm(&self, usage: &Usage, text: &str, context: Option<&str>) -> Shape {
        let mut outputs = object! { "text" => text };
        if self.profile.reasoning {
            outputs = outputs.with("reasoning_content", "");
        }
        outputs = outputs.with("usage", usage.json(self.profile)).with("finish_reason", "stop");
        if !self.profile.reasoning {
            outputs = outputs.with("files", Vec::new());
        }
        Shape {
            inputs: context.map(|context| object! { "#context#" => context }),
            process_data: Some(self.model_call(usage)),
            outputs: Some(outputs),
            metadata: Some(usage.totals()),
        }
    }

    /// A question classifier.
    pub(crate) fn classifier(&self, usage: &Usage) -> Shape {
        let position = texts::CATEGORIES.iter().position(|name| *name == self.category).unwrap_or(3);
        Shape {
            inputs: Some(object! { "query" => self.question }),
            process_data: Some(self.model_call(usage)),
            outputs: Some(object! {
                "class_name" => texts::CATEGORIES[position], "class_id" => (position + 1).to_string(), "usage" => usage.json(self.profile),
            }),
            metadata: Some(usage.totals()),
        }
    }

    fn extractor_inputs(&self) -> Json {
        let parameter = |name: &str, kind: &str, required| {
            object! { "name" => name, "type" => kind, "options" => Json::Null, "description" => "p", "required" => required }
        };
        object! {
            "query" => self.question, "files" => Vec::<Json>::new(),
            "parameters" => vec![parameter("product", "string", true), parameter("qty", "number", false)], "instruction" => "",
        }
    }

    fn extractor_call(&self, model: Model, usage: Json) -> Json {
        object! {
            "model_mode" => "chat", "prompts" => self.prompts(), "usage" => usage,
            "function" => object! { "name" => "extract_parameters" }, "tool_call" => Json::Null,
            "model_provider" => model.provider, "model_name" => model.name,
        }
    }

    /// A parameter extractor; it says `succeeded` even when it extracted nothing.
    pub(crate) fn extractor(&self, usage: &Usage, soft_failure: bool) -> Shape {
        let outputs = if soft_failure {
            object! { "__is_success" => 0, "__reason" => "Failed to extract result from function call or text response, using empty result.", "__usage" => usage.json(self.profile), "product" => "", "qty" => 0 }
        } else {
            object! { "__is_success" => 1, "__reason" => Json::Null, "__usage" => usage.json(self.profile), "product" => "P40", "qty" => 2 }
        };
        Shape {
            inputs: Some(self.extractor_inputs()),
            process_data: Some(self.extractor_call(usage.model, usage.json(self.profile)).with("llm_text", "")),
            outputs: Some(outputs),
            metadata: Some(usage.totals()),
        }
    }

    /// A tool node that worked.
    pub(crate) fn tool(&self, dice: &mut Dice, tool: Tool) -> Shape {
        let text = format!("stock of P40: {} pieces", dice.between(0, 99));
        Shape {
            inputs: Some(self.tool_inputs(tool)),
            outputs: Some(object! {
                "text" => text, "files" => Vec::<Json>::new(), "json" => vec![object! { "data" => Vec::<Json>::new() }],
            }),
            metadata: Some(object! { "tool_info" => tool_info(tool.node_provider_type, tool.provider) }),
            ..Shape::default()
        }
    }

    fn tool_inputs(&self, tool: Tool) -> Json {
        if tool.provider == "time" {
            object! { "format" => "%Y-%m-%d", "timezone" => "Asia/Shanghai" }
        } else {
            object! { "q" => self.category }
        }
    }

    /// A workflow as a tool: the tokens are the child's, the price is always "0".
    pub(crate) fn workflow_tool(&self, provider: Uuid, result: Option<(&str, i64)>) -> Shape {
        let info = object! { "tool_info" => tool_info("workflow", &provider.to_string()) };
        let inputs = object! { "category" => self.category, "q" => self.question };
        let Some((text, tokens)) = result else {
            return Shape { inputs: Some(inputs), metadata: Some(info), ..Shape::default() };
        };
        let outputs = object! {
            "text" => object! { "text" => text }.dumps(), "files" => Vec::<Json>::new(), "json" => vec![object! { "text" => text }],
        };
        let metadata =
            if self.profile.old_engine { info } else { info.with("total_tokens", tokens).with("total_price", "0").with("currency", "USD") };
        Shape { inputs: Some(inputs), outputs: Some(outputs), metadata: Some(metadata), ..Shape::default() }
    }

    /// A knowledge retrieval; an empty result is a miss. Gives the text that goes into the prompt, too.
    pub(crate) fn retrieval(&self, dice: &mut Dice, dataset: &Dataset) -> (Shape, Option<String>) {
        let hits = if dice.chance(self.faults.retrieval_miss) { 0 } else { dice.between(1, 4) };
        let result: Vec<Json> = (0..hits).map(|position| hit(dice, dataset, position + 1)).collect();
        let usage = Usage::new(super::model::LOCAL, 0, 0, 0, None);
        let shape = Shape {
            inputs: Some(object! { "query" => self.question }),
            process_data: self.profile.retrieval_usage.then(|| object! { "usage" => usage.json(self.profile) }),
            outputs: Some(object! { "result" => result }),
            metadata: self.profile.retrieval_usage.then(|| object! { "total_tokens" => 0, "total_price" => "0.0", "currency" => "USD" }),
        };
        (shape, (hits > 0).then(|| "The P40 supports 5G. 手机保修一年。".to_owned()))
    }

    /// An agent node with its log of rounds; its price is a number, sometimes with an exponent.
    pub(crate) fn agent(&self, dice: &mut Dice, usage: &Usage, tool: Tool) -> Shape {
        let (log, tool_failed) = agent_log(self, dice, usage, tool);
        let price = usage.cost().to_f64().unwrap_or_default();
        let price = if price != 0.0 && price < 1e-4 { format!("{price:e}") } else { price.to_string() };
        let zero = Model { prompt_price: "0", completion_price: "0", ..usage.model };
        let mut outer = usage.clone();
        outer.model = zero;
        Shape {
            inputs: Some(object! {
                "instruction" => "help", "maximum_iterations" => 3,
                "model" => object! {
                    "completion_params" => object! {}, "mode" => "chat", "model" => usage.model.name, "model_type" => "llm",
                    "provider" => usage.model.provider, "type" => "model-selector",
                },
                "query" => self.question,
                "tools" => vec![object! { "enabled" => true, "provider_name" => tool.provider, "tool_name" => tool.name, "type" => "builtin" }],
            }),
            outputs: Some(object! {
                "text" => if tool_failed { "I could not look that up." } else { "the answer is ready" },
                "usage" => outer.json(self.profile), "files" => Vec::<Json>::new(), "json" => vec![object! { "data" => Vec::<Json>::new() }],
            }),
            metadata: Some(object! {
                "total_tokens" => usage.tokens(), "total_price" => Json::Raw(price), "currency" => usage.model.currency,
                "tool_info" => object! { "icon" => Json::Null, "agent_strategy" => "function_calling" }, "agent_log" => log,
            }),
            ..Shape::default()
        }
    }

    /// An http-request that got an answer, whatever its status.
    pub(crate) fn http(&self, dice: &mut Dice) -> (Shape, i64) {
        let status = if dice.chance(self.faults.http_status) { *dice.pick(&[301, 400, 401, 404, 429, 500, 503]) } else { 200 };
        let outputs = object! {
            "status_code" => status, "body" => "{\"ok\": true, \"path\": \"/items\"}",
            "headers" => object! { "server" => "nginx", "content-type" => "application/json" }, "files" => Vec::<Json>::new(),
        };
        (Shape { process_data: Some(request()), outputs: Some(outputs), ..Shape::default() }, status)
    }

    /// A branch.
    pub(crate) fn if_else(&self) -> Shape {
        let condition = object! { "actual_value" => 200, "expected_value" => "200", "comparison_operator" => "=" };
        let group = object! {
            "case_id" => "true", "logical_operator" => "and",
            "conditions" => vec![object! {
                "variable_selector" => strings(&["http", "status_code"]), "comparison_operator" => "=", "value" => "200",
                "sub_variable_condition" => Json::Null,
            }],
        };
        Shape {
            inputs: Some(object! { "conditions" => vec![condition] }),
            process_data: Some(object! {
                "condition_results" => vec![object! { "group" => group, "results" => vec![Json::Bool(true)], "final_result" => true }],
            }),
            outputs: Some(object! { "result" => true, "selected_case_id" => "true" }),
            ..Shape::default()
        }
    }

    /// A variable assigner.
    pub(crate) fn assigner(&self) -> Shape {
        let item = object! {
            "variable_selector" => strings(&["conversation", "last"]), "input_type" => "variable", "operation" => "over-write",
            "value" => strings(&["sys", "query"]),
        };
        let update = object! {
            "name" => "last", "selector" => strings(&["conversation", "last"]), "value_type" => "string", "new_value" => self.question,
        };
        Shape {
            inputs: Some(object! {
                "title" => "Assign", "desc" => "", "version" => "2", "error_strategy" => Json::Null, "default_value" => Json::Null,
                "retry_config" => object! { "max_retries" => 0, "retry_interval" => 0, "retry_enabled" => false }, "items" => vec![item],
            }),
            process_data: Some(object! { "last" => self.question, "__updated_variables" => vec![update] }),
            outputs: Some(object! {}),
            ..Shape::default()
        }
    }

    /// A node whose inputs and outputs are the same small object: end, code, template, aggregator.
    pub(crate) fn pass(&self, input: &str, output: &str, text: &str) -> Shape {
        Shape { inputs: Some(object! { input => text }), outputs: Some(object! { output => text }), ..Shape::default() }
    }

    /// The answer of a chatflow.
    pub(crate) fn answer(&self, text: &str) -> Shape {
        Shape { outputs: Some(object! { "answer" => text, "files" => Vec::<Json>::new() }), ..Shape::default() }
    }

    /// An iteration that came to its end.
    pub(crate) fn iteration(&self, items: Vec<Json>, durations: &[Micros], inner: &Merged, all: &Merged) -> Shape {
        let metadata = if self.profile.old_engine {
            let map = durations.iter().enumerate().map(|(key, took)| (key.to_string(), seconds(*took))).collect();
            object! { "iteration_duration_map" => Json::Object(map), "total_tokens" => all.tokens() }
        } else {
            container_totals(inner)
        };
        Shape { outputs: Some(object! { "output" => items }), metadata: Some(metadata), ..Shape::default() }
    }

    /// A loop that came to its end.
    pub(crate) fn looped(&self, durations: &[Micros], inner: &Merged, all: &Merged) -> Shape {
        let map = |value: &dyn Fn(Micros) -> Json| {
            Json::Object(durations.iter().enumerate().map(|(key, took)| (key.to_string(), value(*took))).collect())
        };
        let metadata = if self.profile.old_engine {
            object! { "total_tokens" => all.tokens() }
        } else {
            container_totals(inner)
        };
        Shape {
            inputs: Some(object! { "loop_count" => durations.len() as i64, "acc" => "x" }),
            outputs: Some(object! { "acc" => "x", "loop_round" => durations.len() as i64 }),
            metadata: Some(metadata.with("loop_duration_map", map(&seconds)).with("loop_variable_map", map(&|_| object! { "acc" => "x" }))),
            ..Shape::default()
        }
    }

    /// The entry of a webhook run.
    pub(crate) fn webhook(&self, all_inputs: &Json) -> Shape {
        let payload = webhook_payload(self.category);
        let mut outputs = vec![("_webhook_raw".to_owned(), payload.clone())];
        if let Json::Object(entries) = all_inputs {
            outputs.extend(entries.iter().filter(|(key, _)| key.starts_with("sys.")).cloned());
        }
        Shape {
            inputs: Some(object! {
                "webhook_data" => payload, "webhook_headers" => object! { "Host" => "dify.internal" },
                "webhook_query_params" => object! {}, "webhook_body" => object! { "category" => self.category },
            }),
            outputs: Some(Json::Object(outputs)),
            ..Shape::default()
        }
    }

    /// What a person answered.
    pub(crate) fn human(&self) -> Shape {
        Shape { outputs: Some(object! { "__action_id" => "approve", "comment" => "好的" }), ..Shape::default() }
    }

    /// What is left of a node that failed by itself.
    pub(crate) fn failed(&self, kind: &super::plan::Kind, failure: &Failure) -> Shape {
        use super::plan::Kind;
        match kind {
            Kind::Http => Shape { process_data: Some(request()), ..Shape::default() },
            Kind::Tool(tool) => Shape {
                inputs: Some(self.tool_inputs(*tool)),
                metadata: Some(object! { "tool_info" => tool_info(tool.node_provider_type, tool.provider) }),
                ..Shape::default()
            },
            Kind::Classifier(_) => Shape {
                inputs: Some(object! { "query" => self.question }),
                metadata: Some(object! { "total_tokens" => 0, "total_price" => "0.0", "currency" => "USD" }),
                ..Shape::default()
            },
            Kind::Extractor(model) => Shape {
                inputs: Some(self.extractor_inputs()),
                process_data: Some(self.extractor_call(*model, Json::Null)),
                outputs: Some(object! { "__is_success" => 0, "__reason" => "Failed to invoke model", "__error" => failure.text.as_str() }),
                metadata: None,
            },
            Kind::Retrieval => Shape { inputs: Some(object! { "query" => self.question }), ..Shape::default() },
            _ => Shape::default(),
        }
    }

    /// What is left of a node whose failure was handled.
    pub(crate) fn handled(&self, failed: Shape, failure: &Failure, strategy: &str) -> Shape {
        let mut outputs = object! {};
        if strategy == "default-value" {
            outputs = object! { "text" => "sorry, the assistant is busy", "reasoning_content" => "", "usage" => object! {} };
        }
        outputs = outputs.with("error_message", failure.text.as_str()).with("error_type", failure.class);
        Shape { outputs: Some(outputs), metadata: Some(object! { "error_strategy" => strategy }), ..failed }
    }
}

/// What a webhook receives.
pub(crate) fn webhook_payload(category: &str) -> Json {
    object! {
        "method" => "POST", "headers" => object! { "Host" => "dify.internal", "Content-Type" => "application/json" },
        "query_params" => object! {}, "body" => object! { "category" => category }, "files" => object! {},
    }
}

fn request() -> Json {
    object! { "request" => "GET /items HTTP/1.1\r\nHost: stock.internal\r\n\r\n" }
}

fn tool_info(provider_type: &str, provider: &str) -> Json {
    object! { "provider_type" => provider_type, "provider_id" => provider, "plugin_unique_identifier" => Json::Null }
}

fn seconds(took: Micros) -> Json {
    Json::float((took / MILLISECOND) as f64 / 1e3)
}

fn container_totals(inner: &Merged) -> Json {
    object! { "total_tokens" => inner.tokens(), "total_price" => inner.price_text(), "currency" => inner.currency() }
}

fn score(dice: &mut Dice) -> f64 {
    if dice.chance(0.1) { 1.0 / 3.0 } else { 0.3 + 0.6 * dice.unit() }
}

fn hit(dice: &mut Dice, dataset: &Dataset, position: i64) -> Json {
    let (document, name) = dice.pick(&dataset.documents).clone();
    let content = if dice.chance(0.5) { "The P40 supports 5G …" } else { "手机保修一年，电池六个月。" };
    object! {
        "metadata" => object! {
            "_source" => "knowledge", "dataset_id" => dataset.id, "dataset_name" => dataset.name, "document_id" => document,
            "document_name" => name.as_str(), "data_source_type" => "upload_file", "segment_id" => dice.uuid(),
            "retriever_from" => "workflow", "score" => score(dice), "child_chunks" => Vec::<Json>::new(), "segment_hit_count" => 2,
            "segment_word_count" => 50, "segment_position" => position, "segment_index_node_hash" => dice.hex(8),
            "doc_metadata" => Json::Null, "position" => position,
        },
        "title" => name, "files" => Json::Null, "content" => content,
    }
}

/// An entry of `message_metadata.retriever_resources`.
pub(crate) fn citation(dice: &mut Dice, dataset: &Dataset, position: i64, from: &str) -> Json {
    let (document, name) = dice.pick(&dataset.documents).clone();
    let counted = |value: i64| if from == "workflow" { Json::Int(value) } else { Json::Null };
    object! {
        "position" => position, "dataset_id" => dataset.id, "dataset_name" => dataset.name, "document_id" => document,
        "document_name" => name, "data_source_type" => "upload_file", "segment_id" => dice.uuid(), "retriever_from" => from,
        "score" => score(dice), "hit_count" => counted(2), "word_count" => counted(50), "segment_position" => counted(position),
        "index_node_hash" => Json::Null, "content" => "手机保修一年…", "page" => Json::Null, "doc_metadata" => Json::Null,
        "title" => Json::Null, "files" => Json::Null, "summary" => Json::Null,
    }
}

fn agent_log(shaper: &Shaper<'_>, dice: &mut Dice, usage: &Usage, tool: Tool) -> (Vec<Json>, bool) {
    let execution = dice.uuid();
    let rounds = dice.between(1, 3);
    let mut clock = 3_400.0 + 100.0 * dice.unit();
    let mut failed = false;
    let mut log = Vec::new();
    for round in 1..=rounds {
        let share = usage.tokens() / rounds;
        let tokens = if round == rounds { usage.tokens() - share * (rounds - 1) } else { share };
        let round_id = dice.uuid();
        let times = |clock: f64, took: f64| object! { "started_at" => clock, "finished_at" => clock + took, "elapsed_time" => took };
        let used = |times: Json| {
            times
                .with("total_price", Json::Raw(format!("{:e}", 1e-5 * tokens as f64)))
                .with("currency", usage.model.currency)
                .with("total_tokens", tokens)
        };
        let mut add = |id: Uuid, label: String, parent: Option<Uuid>, error: Option<&str>, metadata: Json| {
            log.push(object! {
                shaper.profile.agent_log_id => id, "label" => label, "node_execution_id" => execution, "parent_id" => parent,
                "error" => error, "status" => if error.is_some() { "error" } else { "success" },
                "data" => object! { "output" => "thinking" }, "metadata" => metadata, "node_id" => "ag",
            });
        };
        let took = 0.2 + dice.unit();
        add(round_id, format!("ROUND {round}"), None, None, used(times(clock, took)));
        let thought = used(times(clock, took * 0.8)).with("provider", usage.model.provider);
        add(dice.uuid(), format!("{} Thought", usage.model.name), Some(round_id), None, thought);
        if round < rounds {
            let error = dice.chance(shaper.faults.tool_failure).then_some("upstream shop API answered 500");
            failed |= error.is_some();
            let metadata = times(clock + took * 0.8, took * 0.2).with("provider", tool.provider);
            add(dice.uuid(), format!("CALL {}", tool.name), Some(round_id), error, metadata);
        }
        clock += took;
    }
    (log, failed)
}
