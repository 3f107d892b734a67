//! Error texts in every shape that Dify stores.

use super::{dice::Dice, model::Model};

/// A failure: the text of the `error` column and the class that handled failures keep in `outputs.error_type`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Text as it arrives in the column.
    pub(crate) text: String,
    /// Python class.
    pub(crate) class: &'static str,
}

impl Failure {
    fn new(class: &'static str, text: impl Into<String>) -> Self {
        Self { text: text.into(), class }
    }
}

/// The error of a user's stop.
pub(crate) fn user_stop(old: bool) -> &'static str {
    if old { "Stopped by user." } else { "User requested stop" }
}

/// A model call fails.
pub(crate) fn model(dice: &mut Dice, model: Model) -> Failure {
    let req_id = dice.hex(10);
    let short = model.short_provider();
    let name = model.name;
    match dice.weighted(&[5.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0]) {
        0 => Failure::new(
            "InvokeRateLimitError",
            format!(
                "[models] Rate Limit Error, Error code: 429 - {{'error': {{'message': 'Rate limit reached for {name} in organization org-XXXX on requests per min (RPM): Limit 500, Used 500, Requested 1. Please try again in 120ms.', 'type': 'requests', 'param': None, 'code': 'rate_limit_exceeded'}}}}"
            ),
        ),
        1 => Failure::new(
            "InvokeRateLimitError",
            "[models] Rate Limit Error, Error code: 429 - {'error': {'message': 'You exceeded your current quota, please check your plan and billing details.', 'type': 'insufficient_quota', 'param': None, 'code': 'insufficient_quota'}}",
        ),
        2 => Failure::new(
            "InvokeAuthorizationError",
            format!("[{short}] Incorrect model credentials provided, please check and try again. "),
        ),
        3 => Failure::new("InvokeConnectionError", "[models] Connection Error, Request timed out."),
        4 => Failure::new(
            "InvokeServerUnavailableError",
            "[models] Server Unavailable Error, Error code: 503 - {'error': {'message': 'The engine is currently overloaded', 'type': 'server_error', 'param': None, 'code': None}}",
        ),
        5 => Failure::new(
            "InvokeBadRequestError",
            "[models] Bad Request Error, Error code: 400 - {'error': {'message': \"This model's maximum context length is 128000 tokens. However, your messages resulted in 130211 tokens.\", 'type': 'invalid_request_error', 'param': 'messages', 'code': 'context_length_exceeded'}}",
        ),
        6 => Failure::new(
            "InvokeError",
            format!(
                "[{short}] Error: req_id: {req_id} PluginInvokeError: {{\"args\": {{\"description\": \"Failed to invoke model, status code 502\"}}, \"error_type\": \"ServiceUnavailableError\", \"message\": \"Failed to invoke model, status code 502\"}}"
            ),
        ),
        7 => Failure::new(
            "InvokeBadRequestError",
            "[models] Bad Request Error, Error code: 400 - {'error': {'message': 'Invalid parameter: temperature', 'type': 'invalid_request_error', 'param': 'temperature', 'code': None}}",
        ),
        8 => Failure::new("PluginDaemonInnerError", "Request to Plugin Daemon Service failed-500"),
        9 => Failure::new("InvokeConnectionError", "[models] Connection Error, [Errno 111] Connection refused"),
        _ => Failure::new(
            "PluginInvokeError",
            format!(
                "req_id: {req_id} PluginInvokeError: {{\"args\": {{}}, \"error_type\": \"InvokeAuthorizationError\", \"message\": \"invalid api key\"}}"
            ),
        ),
    }
}

/// A tool call fails.
pub(crate) fn tool(dice: &mut Dice, provider: &str, tool: &str) -> Failure {
    match dice.weighted(&[4.0, 2.0, 1.0]) {
        0 => Failure::new(
            "ToolInvokeError",
            format!(
                "An error occurred in the {provider}, please contact the author of {provider} for help, error type: ToolProviderError, error details: upstream shop API answered 500"
            ),
        ),
        1 => Failure::new("ToolNodeError", format!("Failed to invoke tool {tool}: Request timed out")),
        _ => Failure::new(
            "ToolInvokeError",
            format!(
                "req_id: {} PluginInvokeError: {{\"args\":{{}},\"error_type\":\"ToolProviderCredentialValidationError\",\"message\":\"Month is required\"}}",
                dice.hex(10)
            ),
        ),
    }
}

/// An http-request node fails.
pub(crate) fn http(dice: &mut Dice) -> Failure {
    let text = match dice.weighted(&[3.0, 2.0, 2.0, 1.0, 1.0]) {
        0 => "[Errno 111] Connection refused".to_owned(),
        1 => format!("Reached maximum retries ({}) for URL http://stock.internal/items", dice.between(0, 3)),
        2 => format!("Request failed with status code {}", dice.pick(&[404, 429, 500, 502])),
        3 => "timed out".to_owned(),
        _ => "[Errno -2] Name or service not known".to_owned(),
    };
    Failure::new("HttpRequestNodeError", text)
}

/// A code node fails.
pub(crate) fn code(dice: &mut Dice) -> Failure {
    let text = match dice.weighted(&[3.0, 1.0, 1.0]) {
        0 => "Traceback (most recent call last):\n  File \"<string>\", line 9, in main\nKeyError: 'status_code'\n",
        1 => "Output result is missing.",
        _ => "error: timeout\n",
    };
    Failure::new("CodeExecutionError", text)
}

/// A knowledge-retrieval node fails.
pub(crate) fn retrieval(dice: &mut Dice) -> Failure {
    let text = if dice.chance(0.5) {
        "The configured knowledge base list have different indexing technique, please set reranking model."
    } else {
        "Dataset not found."
    };
    Failure::new("KnowledgeRetrievalNodeError", text)
}

/// Any other node fails.
pub(crate) fn other() -> Failure {
    Failure::new("VariableNotFoundError", "Variable #start.order_id# not found")
}

/// An engine limit ends the run.
pub(crate) fn limit(dice: &mut Dice, old: bool) -> String {
    match (old, dice.chance(0.5)) {
        (true, true) => "Max execution time 1200s reached.".to_owned(),
        (true, false) => "Max steps 500 reached.".to_owned(),
        (false, true) => "Maximum execution time exceeded: 1200.55 > 1200".to_owned(),
        (false, false) => "Maximum execution steps exceeded: 501 > 500".to_owned(),
    }
}

/// The error of a message whose model call failed: bad keys and plugin errors are reworded on the way.
pub(crate) fn of_message(text: &str) -> String {
    if text.contains("Incorrect model credentials") {
        return "Incorrect API key provided".to_owned();
    }
    match text.strip_prefix("req_id: ").and_then(|rest| rest.split_once("PluginInvokeError: ")) {
        Some((_, json)) => json.to_owned(),
        None => text.to_owned(),
    }
}
