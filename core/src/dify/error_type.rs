//! One closed list of error types, read from Dify's free error texts.
//!
//! Dify stores no error type. Its texts wrap each other (a run repeats its node's, a tool its plugin's or its child
//! workflow's), the innermost part is the vendor's with Python quoting. [`classify`] peels known wrappers off and then asks
//! ordered rules; what none of them knows falls back to the type of node, then to [`ErrorType::Other`].

mod fingerprint;
mod rules;

use std::fmt;

pub use fingerprint::{fingerprint, normalise};

/// Why something failed. The list is closed and stable: alerts and dashboards are made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorType {
    /// Too many requests in a short time; trying later helps.
    RateLimit,
    /// What was paid for is used up; trying later does not help.
    Quota,
    /// Wrong or missing key, or no right to the model.
    Authorization,
    /// The other side refused the request as it was.
    BadRequest,
    /// The prompt is longer than the model's context.
    ContextLength,
    /// The other side could not be reached.
    Connection,
    /// The other side did not answer in time.
    Timeout,
    /// The other side is overloaded or broken.
    ServerUnavailable,
    /// The plugin daemon or a plugin itself.
    Plugin,
    /// A tool.
    Tool,
    /// An HTTP request node was answered with 4xx.
    Http4xx,
    /// An HTTP request node was answered with 5xx.
    Http5xx,
    /// Code or a template of the app's author.
    Code,
    /// A knowledge base.
    Retrieval,
    /// One of Dify's own limits: execution time, steps, call depth.
    LimitExceeded,
    /// Somebody stopped it.
    Stopped,
    /// None of the above.
    Other,
}

impl ErrorType {
    /// All of them.
    pub const ALL: [ErrorType; 17] = [
        ErrorType::RateLimit,
        ErrorType::Quota,
        ErrorType::Authorization,
        ErrorType::BadRequest,
        ErrorType::ContextLength,
        ErrorType::Connection,
        ErrorType::Timeout,
        ErrorType::ServerUnavailable,
        ErrorType::Plugin,
        ErrorType::Tool,
        ErrorType::Http4xx,
        ErrorType::Http5xx,
        ErrorType::Code,
        ErrorType::Retrieval,
        ErrorType::LimitExceeded,
        ErrorType::Stopped,
        ErrorType::Other,
    ];

    /// The word in labels and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorType::RateLimit => "rate_limit",
            ErrorType::Quota => "quota",
            ErrorType::Authorization => "authorization",
            ErrorType::BadRequest => "bad_request",
            ErrorType::ContextLength => "context_length",
            ErrorType::Connection => "connection",
            ErrorType::Timeout => "timeout",
            ErrorType::ServerUnavailable => "server_unavailable",
            ErrorType::Plugin => "plugin",
            ErrorType::Tool => "tool",
            ErrorType::Http4xx => "http_4xx",
            ErrorType::Http5xx => "http_5xx",
            ErrorType::Code => "code",
            ErrorType::Retrieval => "retrieval",
            ErrorType::LimitExceeded => "limit_exceeded",
            ErrorType::Stopped => "stopped",
            ErrorType::Other => "other",
        }
    }

    /// What an HTTP request node's answer means; `None` for 2xx.
    pub const fn of_http_status(status: u64) -> Option<ErrorType> {
        match status {
            200..=299 => None,
            400..=499 => Some(ErrorType::Http4xx),
            500..=599 => Some(ErrorType::Http5xx),
            _ => Some(ErrorType::Other),
        }
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known about a failure beside its text.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorContext<'a> {
    /// The type of the node that failed; `tool` for an agent's tool call.
    pub node_type: Option<&'a str>,
    /// The class of the exception (`outputs.error_type` of a handled failure, for example `InvokeRateLimitError`).
    pub class: Option<&'a str>,
}

/// The type of an error.
pub fn classify(text: &str, context: ErrorContext<'_>) -> ErrorType {
    rules::classify(text, context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: &str = "[models] Rate Limit Error, Error code: 429 - {'error': {'message': 'Rate limit reached for gpt-4o-mini in organization org-XXXX on requests per min (RPM): Limit 500, Used 500, Requested 1. Please try again in 120ms.', 'type': 'requests', 'param': None, 'code': 'rate_limit_exceeded'}}";
    const QUOTA: &str = "[models] Rate Limit Error, Error code: 429 - {'error': {'message': 'You exceeded your current quota, please check your plan and billing details.', 'type': 'insufficient_quota', 'param': None, 'code': 'insufficient_quota'}}";
    const CONTEXT: &str = "[models] Bad Request Error, Error code: 400 - {'error': {'message': \"This model's maximum context length is 128000 tokens. However, your messages resulted in 130211 tokens.\", 'type': 'invalid_request_error', 'param': 'messages', 'code': 'context_length_exceeded'}}";

    /// Node type, class, text, expected. Texts as real databases hold them, then those known from Dify's source.
    fn table() -> Vec<(Option<&'static str>, Option<&'static str>, String, ErrorType)> {
        use ErrorType::*;
        let llm = Some("llm");
        let mut table: Vec<(Option<&'static str>, Option<&'static str>, String, ErrorType)> = Vec::new();
        let mut add = |node_type, class, text: &str, expected| table.push((node_type, class, text.to_owned(), expected));
        add(llm, None, RATE, RateLimit);
        add(llm, None, QUOTA, Quota);
        add(llm, None, CONTEXT, ContextLength);
        add(llm, Some("InvokeRateLimitError"), QUOTA, Quota);
        add(llm, Some("InvokeRateLimitError"), RATE, RateLimit);
        add(llm, Some("InvokeBadRequestError"), CONTEXT, ContextLength);
        add(None, None, &format!("Run failed: {RATE}"), RateLimit);
        add(None, None, &format!("Run failed: {QUOTA}"), Quota);
        add(Some("question-classifier"), None, QUOTA, Quota);
        add(Some("parameter-extractor"), None, RATE, RateLimit);
        add(Some("iteration"), None, RATE, RateLimit);
        add(llm, None, "[models] Connection Error, Request timed out.", Timeout);
        add(llm, Some("InvokeConnectionError"), "[models] Connection Error, Request timed out.", Timeout);
        add(llm, None, "[models] Connection Error, Connection error.", Connection);
        add(
            llm,
            None,
            "[models] Server Unavailable Error, Error code: 503 - {'error': {'message': 'The engine is currently overloaded', 'type': 'server_error', 'param': None, 'code': None}}",
            ServerUnavailable,
        );
        add(llm, None, "[models] Server Unavailable Error, Error code: 504 - gateway timeout", ServerUnavailable);
        add(llm, None, "[models] Authorization Error, Error code: 401 - {...}", Authorization);
        add(llm, None, "[models] Bad Request Error, Error code: 400 - {'error': {'message': 'Invalid image url'}}", BadRequest);
        add(llm, None, "[langgenius/openai/openai] Rate Limit Error, slow down", RateLimit);
        add(llm, None, "[openai] Incorrect model credentials provided, please check and try again.", Authorization);
        add(
            llm,
            Some("InvokeAuthorizationError"),
            "[openai] Incorrect model credentials provided, please check and try again.",
            Authorization,
        );
        add(None, None, "Incorrect API key provided", Authorization);
        add(
            llm,
            None,
            r#"[openai] Error: req_id: 64440cbd04 PluginInvokeError: {"args": {"description": "Failed to invoke model, status code 502"}, "error_type": "ServiceUnavailableError", "message": "Failed to invoke model, status code 502"}"#,
            ServerUnavailable,
        );
        add(None, None, r#"{"args": {"description": "x"}, "error_type": "ServiceUnavailableError", "message": "x"}"#, ServerUnavailable);
        add(
            llm,
            None,
            r#"req_id: e1f7a13b9a PluginInvokeError: {"args":{},"error_type":"InvokeRateLimitError","message":"slow down"}"#,
            RateLimit,
        );
        add(
            llm,
            None,
            r#"req_id: e1f7a13b9a PluginInvokeError: {"args":{},"error_type":"InvokeAuthorizationError","message":"no"}"#,
            Authorization,
        );
        add(
            llm,
            None,
            r#"req_id: e1f7a13b9a PluginInvokeError: {"args":{},"error_type":"InvokeBadRequestError","message":"no"}"#,
            BadRequest,
        );
        add(
            llm,
            None,
            r#"req_id: e1f7a13b9a PluginInvokeError: {"args":{},"error_type":"InvokeConnectionError","message":"no"}"#,
            Connection,
        );
        add(
            llm,
            None,
            r#"req_id: e1f7a13b9a PluginInvokeError: {"args":{},"error_type":"InvokeServerUnavailableError","message":"no"}"#,
            ServerUnavailable,
        );
        add(
            llm,
            None,
            r#"req_id: e1f7a13b9a PluginInvokeError: {"args":{},"error_type":"CredentialsValidateFailedError","message":"no"}"#,
            Authorization,
        );
        add(llm, None, r#"req_id: e1f7a13b9a PluginDaemonInternalServerError: killed by timeout"#, Plugin);
        add(llm, None, r#"req_id: e1f7a13b9a PluginInvokeError: {"args":{},"error_type":"ValueError","message":"no"}"#, Plugin);
        add(llm, None, "Request to Plugin Daemon Service failed-500", Plugin);
        add(Some("tool"), None, "Request to Plugin Daemon Service failed-500", Plugin);
        add(
            Some("tool"),
            None,
            "An error occurred in the plugin, please contact the author of demo/shop/shop for help, error type: ToolProviderError, error details: upstream shop API answered 500",
            Tool,
        );
        add(
            None,
            None,
            "An error occurred in the demo/shop/shop, please contact the author of demo/shop/shop for help, error type: ToolProviderError, error details: upstream shop API answered 500",
            Tool,
        );
        add(Some("tool"), None, &format!("Failed to invoke tool c3953c93-0dc5-4d94-9c49-76d2b69d7b4c: {CONTEXT}"), ContextLength);
        add(None, None, "Failed to invoke tool weather: it broke", Tool);
        add(Some("tool"), None, "Month is required", Tool);
        add(Some("tool"), None, "there is not a tool named nosuch", Tool);
        add(
            Some("tool"),
            None,
            r#"req_id: fe4bbc9b14 PluginInvokeError: {"args": {"description": "upstream shop API answered 500"}, "error_type": "ToolProviderError", "message": "upstream shop API answered 500"}"#,
            Tool,
        );
        add(Some("http-request"), None, "[Errno 111] Connection refused", Connection);
        add(None, None, "Run failed: [Errno 111] Connection refused", Connection);
        add(Some("http-request"), Some("HttpRequestNodeError"), "[Errno 111] Connection refused", Connection);
        add(Some("http-request"), None, "[Errno -2] Name or service not known", Connection);
        add(Some("http-request"), None, "Reached maximum retries (3) for URL http://shop.example/", Connection);
        add(
            Some("http-request"),
            None,
            "Access to 'http://10.0.0.1/' was blocked by SSRF protection. The URL may point to a private or local network address.",
            Connection,
        );
        add(Some("http-request"), None, "Request failed with status code 404", Http4xx);
        add(Some("http-request"), None, "Request failed with status code 429 Too Many Requests", Http4xx);
        add(Some("http-request"), None, "Request failed with status code 503", Http5xx);
        add(Some("http-request"), None, "timed out", Timeout);
        add(Some("code"), None, "Failed to parse result: not a dict", Code);
        add(Some("code"), Some("CodeNodeError"), "Not all output parameters are validated.", Code);
        add(
            None,
            None,
            "Traceback (most recent call last):\n  File \"/tmp/x.py\", line 3, in main\nZeroDivisionError: division by zero",
            Code,
        );
        add(Some("code"), None, "error: operation not permitted", Code);
        add(Some("template-transform"), None, "'x' is undefined", Code);
        add(
            Some("knowledge-retrieval"),
            None,
            "The configured knowledge base list have different indexing technique, please set reranking model.",
            Retrieval,
        );
        add(None, None, "The configured knowledge base list have different indexing technique, please set reranking model.", Retrieval);
        add(None, None, "Dataset not found", Retrieval);
        add(None, None, "Maximum execution time exceeded: 1201.3 > 1200", LimitExceeded);
        add(None, None, "Maximum execution steps exceeded: 501 > 500", LimitExceeded);
        add(None, None, "Max steps 500 reached.", LimitExceeded);
        add(None, None, "Max execution time 1200s reached.", LimitExceeded);
        add(Some("tool"), None, "Max workflow call depth 5 reached.", LimitExceeded);
        add(None, None, "App execution exceeded 1200 seconds", LimitExceeded);
        add(None, None, "User requested stop", Stopped);
        add(None, None, "Stopped by user.", Stopped);
        add(None, None, "App task was stopped", Stopped);
        add(None, None, "Client response stream closed before app execution completed", Stopped);
        add(None, None, "Workflow execution aborted", Stopped);
        add(None, None, "Workflow execution aborted by user command", Stopped);
        add(None, None, "Human input global timeout at node 1711528914102", Stopped);
        add(Some("agent"), None, "Unknown error", Other);
        add(llm, None, "Variable #context# not found", Other);
        add(None, None, "", Other);
        table
    }

    #[test]
    fn every_known_text_has_its_type() {
        for (node_type, class, text, expected) in table() {
            assert_eq!(classify(&text, ErrorContext { node_type, class }), expected, "{node_type:?} {class:?} {text}");
        }
    }

    #[test]
    fn every_type_but_other_is_reached_by_some_text() {
        let reached: Vec<ErrorType> = table().into_iter().map(|(.., expected)| expected).collect();
        assert!(ErrorType::ALL.iter().all(|kind| reached.contains(kind)));
    }

    #[test]
    fn words_are_distinct() {
        let words: std::collections::BTreeSet<_> = ErrorType::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(words.len(), 17);
    }

    #[test]
    fn an_unknown_class_does_not_hide_the_text() {
        let context = ErrorContext { node_type: Some("llm"), class: Some("SomethingNewError") };
        assert_eq!(classify(RATE, context), ErrorType::RateLimit);
    }

    #[test]
    fn a_class_decides_where_the_text_says_nothing() {
        let context = ErrorContext { node_type: Some("llm"), class: Some("InvokeConnectionError") };
        assert_eq!(classify("no", context), ErrorType::Connection);
    }

    #[test]
    fn http_answers_have_types() {
        assert_eq!(ErrorType::of_http_status(204), None);
        assert_eq!(ErrorType::of_http_status(404), Some(ErrorType::Http4xx));
        assert_eq!(ErrorType::of_http_status(502), Some(ErrorType::Http5xx));
        assert_eq!(ErrorType::of_http_status(302), Some(ErrorType::Other));
    }

    #[test]
    fn long_and_odd_texts_do_no_harm() {
        classify(&"汉".repeat(100_000), ErrorContext::default());
        classify(&"Failed to invoke tool a: ".repeat(10_000), ErrorContext::default());
    }
}
