//! Model calls: requests, latency, tokens and money.

use super::buckets;
use crate::store::FamilyDef;

families! {
    LLM_REQUESTS = counter("dify_llm_requests", "Model calls as far as rows show them, by how they ended")
        .labels(&["provider", "model", "status"]).business();
    LLM_REQUEST_DURATION = histogram("dify_llm_request_duration_seconds", "Duration of model calls", buckets::DURATION)
        .labels(&["provider", "model", "status"]).unit("seconds").business();
    LLM_TIME_TO_FIRST_TOKEN = histogram("dify_llm_time_to_first_token_seconds", "Time to the first token of streamed answers, where Dify stores it", buckets::FIRST_TOKEN)
        .labels(&["provider", "model", "status"]).unit("seconds").business();
    LLM_TOKENS = counter("dify_llm_tokens", "Tokens of model calls, token_type is prompt, completion, or unsplit where Dify stores only the sum")
        .labels(&["provider", "model", "token_type"]).business();
    LLM_PROMPT_TOKENS = histogram("dify_llm_prompt_tokens", "Prompt tokens of one model call", buckets::TOKENS)
        .labels(&["provider", "model"]).business();
    LLM_COMPLETION_TOKENS = histogram("dify_llm_completion_tokens", "Completion tokens of one model call", buckets::TOKENS)
        .labels(&["provider", "model"]).business();
    LLM_COST = decimal("dify_llm_cost", "Money spent on model calls as Dify priced them, in units of the currency")
        .labels(&["provider", "model", "currency"]).business();
}
