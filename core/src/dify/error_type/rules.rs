//! The ordered rules.

use super::{ErrorContext, ErrorType};

/// Texts are classified by their beginning; vendors append whole prompts.
const LOOKED_AT: usize = 4096;
/// Wrappers inside wrappers: a workflow as a tool may call one itself, five deep.
const MOST_WRAPPERS: usize = 12;

/// Dify's own limits and stops. They come first: their texts are Dify's, whole and unmistakable.
const ENGINE: &[(&str, ErrorType)] = &[
    ("maximum execution time exceeded", ErrorType::LimitExceeded),
    ("maximum execution steps exceeded", ErrorType::LimitExceeded),
    ("max execution time ", ErrorType::LimitExceeded),
    ("max steps ", ErrorType::LimitExceeded),
    ("max workflow call depth ", ErrorType::LimitExceeded),
    ("app execution exceeded ", ErrorType::LimitExceeded),
    ("user requested stop", ErrorType::Stopped),
    ("stopped by user", ErrorType::Stopped),
    ("app task was stopped", ErrorType::Stopped),
    ("client response stream closed", ErrorType::Stopped),
    ("workflow execution aborted", ErrorType::Stopped),
    ("human input global timeout", ErrorType::Stopped),
];

/// What a vendor says inside a wrapper that is too coarse: exhausted quota is a "Rate Limit Error", a prompt that is too
/// long a "Bad Request Error".
const FINER_THAN_CLASS: &[(&str, ErrorType)] = &[
    ("context_length_exceeded", ErrorType::ContextLength),
    ("maximum context length", ErrorType::ContextLength),
    ("context length exceeded", ErrorType::ContextLength),
    ("exceeds the context window", ErrorType::ContextLength),
    ("prompt is too long", ErrorType::ContextLength),
    ("input is too long", ErrorType::ContextLength),
    ("prompt length exceeds", ErrorType::ContextLength),
    ("range of input length should be", ErrorType::ContextLength),
    ("exceeds the maximum number of tokens", ErrorType::ContextLength),
    ("insufficient_quota", ErrorType::Quota),
    ("exceeded your current quota", ErrorType::Quota),
    ("quotaexceedederror", ErrorType::Quota),
    ("insufficient balance", ErrorType::Quota),
    ("credit balance is too low", ErrorType::Quota),
    ("arrearage", ErrorType::Quota),
    ("quota for", ErrorType::Quota),
    ("quota has been exhausted", ErrorType::Quota),
    ("model provider quota exceeded", ErrorType::Quota),
];

/// The wrappers of model invocations, and the classes behind them.
const CLASSES: &[(&str, ErrorType)] = &[
    ("invokeratelimiterror", ErrorType::RateLimit),
    ("rate limit error", ErrorType::RateLimit),
    ("invokeauthorizationerror", ErrorType::Authorization),
    ("authorization error", ErrorType::Authorization),
    ("credentialsvalidatefailederror", ErrorType::Authorization),
    ("toolprovidercredentialvalidationerror", ErrorType::Authorization),
    ("incorrect model credentials", ErrorType::Authorization),
    ("incorrect api key", ErrorType::Authorization),
    ("invokeserverunavailableerror", ErrorType::ServerUnavailable),
    ("server unavailable error", ErrorType::ServerUnavailable),
    ("serviceunavailableerror", ErrorType::ServerUnavailable),
];

/// The same, but a timeout inside them is one.
const CLASSES_BEHIND_TIMEOUT: &[(&str, ErrorType)] = &[
    ("invokeconnectionerror", ErrorType::Connection),
    ("connection error", ErrorType::Connection),
    ("invokebadrequesterror", ErrorType::BadRequest),
    ("bad request error", ErrorType::BadRequest),
];

const TIMEOUTS: &[&str] = &["timed out", "timeout", "time out", "deadline exceeded"];

/// What the rest of the world says.
const PHRASES: &[(&str, ErrorType)] = &[
    ("rate limit", ErrorType::RateLimit),
    ("rate_limit", ErrorType::RateLimit),
    ("too many requests", ErrorType::RateLimit),
    ("throttling", ErrorType::RateLimit),
    ("resource_exhausted", ErrorType::RateLimit),
    ("quota exceeded", ErrorType::Quota),
    ("unauthorized", ErrorType::Authorization),
    ("authentication", ErrorType::Authorization),
    ("invalid api key", ErrorType::Authorization),
    ("invalid_api_key", ErrorType::Authorization),
    ("permission denied", ErrorType::Authorization),
    ("credentials", ErrorType::Authorization),
    ("ssrf", ErrorType::Connection),
    ("reached maximum retries", ErrorType::Connection),
    ("[errno ", ErrorType::Connection),
    ("connection refused", ErrorType::Connection),
    ("connection reset", ErrorType::Connection),
    ("connection aborted", ErrorType::Connection),
    ("name or service not known", ErrorType::Connection),
    ("nodename nor servname", ErrorType::Connection),
    ("temporary failure in name resolution", ErrorType::Connection),
    ("server disconnected", ErrorType::Connection),
    ("certificate verify failed", ErrorType::Connection),
    ("overloaded", ErrorType::ServerUnavailable),
    ("service unavailable", ErrorType::ServerUnavailable),
    ("bad gateway", ErrorType::ServerUnavailable),
    ("invalid_request_error", ErrorType::BadRequest),
    ("dataset not found", ErrorType::Retrieval),
    ("knowledge base", ErrorType::Retrieval),
    ("reranking model", ErrorType::Retrieval),
    ("traceback (most recent call last)", ErrorType::Code),
    ("failed to execute code", ErrorType::Code),
    ("codeexecutionerror", ErrorType::Code),
];

/// Whoever carried the error, when nothing is known about it.
const CARRIERS: &[(&str, ErrorType)] = &[
    ("toolprovidererror", ErrorType::Tool),
    ("toolinvokeerror", ErrorType::Tool),
    ("failed to invoke tool", ErrorType::Tool),
    ("not a tool named", ErrorType::Tool),
    ("tool invoke error", ErrorType::Tool),
    ("please contact the author of", ErrorType::Tool),
    ("plugin daemon", ErrorType::Plugin),
    ("plugindaemon", ErrorType::Plugin),
    ("plugininvokeerror", ErrorType::Plugin),
    ("plugin not found", ErrorType::Plugin),
    ("pluginnotfound", ErrorType::Plugin),
];

pub(super) fn classify(text: &str, context: ErrorContext<'_>) -> ErrorType {
    let text = beginning(text).to_lowercase();
    let class = context.class.unwrap_or_default().to_lowercase();
    let found = first(&text, ENGINE)
        .or_else(|| carried_by_plugin_daemon(&text))
        .or_else(|| http_request(&text, context.node_type))
        .or_else(|| first(&text, FINER_THAN_CLASS))
        .or_else(|| first(innermost(&text), CLASSES).or_else(|| first(&class, CLASSES)))
        .or_else(|| TIMEOUTS.iter().any(|phrase| text.contains(phrase)).then_some(ErrorType::Timeout))
        .or_else(|| first(&text, CLASSES_BEHIND_TIMEOUT).or_else(|| first(&class, CLASSES_BEHIND_TIMEOUT)))
        .or_else(|| vendor_code(&text))
        .or_else(|| first(&text, PHRASES));
    match (found, context.node_type) {
        (Some(found), _) => found,
        (None, Some("tool")) => ErrorType::Tool,
        (None, Some("code" | "template-transform")) => ErrorType::Code,
        (None, Some("knowledge-retrieval" | "knowledge-index")) => ErrorType::Retrieval,
        (None, _) => first(&text, CARRIERS).unwrap_or(ErrorType::Other),
    }
}

/// The first `LOOKED_AT` bytes, cut between characters.
fn beginning(text: &str) -> &str {
    let mut end = text.len().min(LOOKED_AT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn first(text: &str, rules: &[(&str, ErrorType)]) -> Option<ErrorType> {
    rules.iter().find(|(phrase, _)| text.contains(phrase)).map(|(_, kind)| *kind)
}

/// What a tool's wrapper says about itself is not the error: `Failed to invoke tool X: …`, `… error details: …`.
fn innermost(text: &str) -> &str {
    let mut inner = text;
    for _ in 0..MOST_WRAPPERS {
        let next = if let Some(rest) = inner.strip_prefix("run failed: ") {
            rest
        } else if let Some(rest) = inner.strip_prefix("failed to invoke tool ") {
            rest.split_once(": ").map_or("", |(_, rest)| rest)
        } else if let Some((_, rest)) = inner.split_once("error details: ") {
            rest
        } else {
            return inner;
        };
        inner = next;
    }
    inner
}

/// The daemon itself did not do its work: it was not reached, or it killed the plugin.
fn carried_by_plugin_daemon(text: &str) -> Option<ErrorType> {
    let daemon = text.contains("request to plugin daemon service failed") || text.contains("plugindaemoninternalservererror");
    daemon.then_some(ErrorType::Plugin)
}

/// An HTTP request node names the answer it got.
fn http_request(text: &str, node_type: Option<&str>) -> Option<ErrorType> {
    let status = number_after(text, "request failed with status code ")?;
    if node_type.is_some_and(|node_type| node_type != "http-request") {
        return None;
    }
    ErrorType::of_http_status(status)
}

/// A vendor's answer: `Error code: 503 - …`, `status code 502`.
fn vendor_code(text: &str) -> Option<ErrorType> {
    let code = number_after(text, "error code: ")
        .or_else(|| number_after(text, "status code "))
        .or_else(|| number_after(text, "status code: "))?;
    Some(match code {
        401 | 403 => ErrorType::Authorization,
        408 | 504 => ErrorType::Timeout,
        429 => ErrorType::RateLimit,
        400..=499 => ErrorType::BadRequest,
        500..=599 => ErrorType::ServerUnavailable,
        _ => return None,
    })
}

fn number_after(text: &str, phrase: &str) -> Option<u64> {
    let rest = &text[text.find(phrase)? + phrase.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}
