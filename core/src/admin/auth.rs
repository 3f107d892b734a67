//! Basic authentication against bcrypt hashes.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

/// What an unknown user is compared with, so that the time of the answer does not tell who exists.
pub(super) const DUMMY_HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// Verdicts that are remembered: bcrypt is slow on purpose, and Prometheus asks every few seconds.
const CACHE_SIZE: usize = 100;

/// Comparisons at the same time, so that guessing passwords cannot take every core.
const COMPARISONS: usize = 1;

/// Who may ask. Cheap to clone.
#[derive(Clone)]
pub(super) struct Auth(Arc<Inner>);

struct Inner {
    users: Mutex<BTreeMap<String, String>>,
    verdicts: Mutex<HashMap<[u8; 32], bool>>,
    comparing: Semaphore,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth")
    }
}

impl Auth {
    /// Users and the bcrypt hashes of their passwords.
    pub(super) fn new(users: BTreeMap<String, String>) -> Self {
        Auth(Arc::new(Inner { users: Mutex::new(users), verdicts: Mutex::default(), comparing: Semaphore::new(COMPARISONS) }))
    }

    /// Takes over a changed list. Verdicts are tied to the hash they were made with, so old ones are merely unused.
    pub(super) fn replace(&self, users: BTreeMap<String, String>) {
        *self.0.users.lock().unwrap_or_else(PoisonError::into_inner) = users;
    }

    async fn allows(&self, headers: &HeaderMap) -> bool {
        let Some((user, password)) = credentials(headers) else { return false };
        let known = self.0.users.lock().unwrap_or_else(PoisonError::into_inner).get(&user).cloned();
        let (hash, exists) = known.map_or_else(|| (DUMMY_HASH.to_owned(), false), |hash| (hash, true));
        self.matches(&user, password, hash).await && exists
    }

    async fn matches(&self, user: &str, password: String, hash: String) -> bool {
        let key = cache_key(user, &password, &hash);
        if let Some(verdict) = self.remembered(&key) {
            return verdict;
        }
        let Ok(_permit) = self.0.comparing.acquire().await else { return false };
        // Another request with the same credentials may have been first.
        if let Some(verdict) = self.remembered(&key) {
            return verdict;
        }
        let verdict = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false)).await.unwrap_or(false);
        let mut verdicts = self.0.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if verdicts.len() >= CACHE_SIZE {
            verdicts.clear();
        }
        verdicts.insert(key, verdict);
        verdict
    }

    fn remembered(&self, key: &[u8; 32]) -> Option<bool> {
        self.0.verdicts.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }
}

fn cache_key(user: &str, password: &str, hash: &str) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in [user, password, hash] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Lets a request through if it names a user and the right password.
pub(super) async fn require(State(auth): State<Auth>, request: Request, next: Next) -> Response {
    if auth.allows(request.headers()).await {
        return next.run(request).await;
    }
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic")], "Unauthorized\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth() -> Auth {
        // The lowest cost keeps the tests quick.
        Auth::new(BTreeMap::from([("prometheus".to_owned(), bcrypt::hash("s3cret:x", 4).unwrap())]))
    }

    fn basic(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, format!("Basic {}", STANDARD.encode(text)).parse().unwrap())])
    }

    #[tokio::test]
    async fn the_right_password_passes_again_and_again() {
        let auth = auth();
        assert!(auth.allows(&basic("prometheus:s3cret:x")).await);
        assert!(auth.allows(&basic("prometheus:s3cret:x")).await);
        assert_eq!(auth.0.verdicts.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn everything_else_does_not() {
        let auth = auth();
        for text in ["prometheus:wrong", "prometheus", "", ":", "nobody:s3cret:x", "nobody:fakepassword"] {
            assert!(!auth.allows(&basic(text)).await, "{text}");
        }
        assert!(!auth.allows(&HeaderMap::new()).await);
        for header in ["Basic", "Basic !!!", "Bearer abc", "Basic /w=="] {
            assert!(!auth.allows(&HeaderMap::from_iter([(AUTHORIZATION, header.parse().unwrap())])).await, "{header}");
        }
    }

    #[tokio::test]
    async fn a_replaced_password_no_longer_passes() {
        let auth = auth();
        assert!(auth.allows(&basic("prometheus:s3cret:x")).await);
        auth.replace(BTreeMap::from([("prometheus".to_owned(), bcrypt::hash("other", 4).unwrap())]));
        assert!(!auth.allows(&basic("prometheus:s3cret:x")).await);
        assert!(auth.allows(&basic("prometheus:other")).await);
    }

    #[test]
    fn the_dummy_is_a_real_hash() {
        assert!(DUMMY_HASH.parse::<bcrypt::HashParts>().is_ok());
    }
}
