//! A real S3 server (moto) that checks signatures and knows conditional writes.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::children::free_port;
use crate::process::Process;
use crate::python::python;

/// A running server; gone with all that it holds when dropped, and when this process dies.
#[derive(Debug)]
pub struct S3 {
    _process: Process,
    endpoint: String,
    access_key_id: String,
    secret_access_key: String,
}

impl S3 {
    /// Starts a server with these buckets. Whoever does not sign with its key is refused.
    pub async fn start(buckets: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("dify-observe-s3-").tempdir()?;
        let port = free_port()?;
        let mut command = Command::new(python()?);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]).current_dir(folder.path());
        let mut process = Process::start(&mut command, folder)?;
        let endpoint = format!("http://127.0.0.1:{port}");
        wait_until_it_answers(&mut process, &endpoint).await?;
        for bucket in buckets {
            reqwest::Client::new().put(format!("{endpoint}/{bucket}")).send().await?.error_for_status()?;
        }
        let (access_key_id, secret_access_key) = make_user(&endpoint).await?;
        // From now on every request must be signed.
        reqwest::Client::new().post(format!("{endpoint}/moto-api/reset-auth")).body("0").send().await?.error_for_status()?;
        Ok(Self { _process: process, endpoint, access_key_id, secret_access_key })
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The key that may do everything.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The secret that belongs to the key.
    pub fn secret_access_key(&self) -> &str {
        &self.secret_access_key
    }
}

async fn wait_until_it_answers(process: &mut Process, endpoint: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while reqwest::get(format!("{endpoint}/moto-api/data.json")).await.is_err() {
        if Instant::now() > deadline || process.ended()?.is_some() {
            bail!("the S3 server did not answer; it wrote:\n{}", process.stderr());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// A user with a key. The server knows by the signature's scope that a request is meant for its user database.
async fn make_user(endpoint: &str) -> anyhow::Result<(String, String)> {
    const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
    iam(endpoint, &[("Action", "CreateUser"), ("UserName", "janitor")]).await?;
    iam(endpoint, &[("Action", "PutUserPolicy"), ("UserName", "janitor"), ("PolicyName", "all"), ("PolicyDocument", POLICY)]).await?;
    let answer = iam(endpoint, &[("Action", "CreateAccessKey"), ("UserName", "janitor")]).await?;
    let element = |name: &str| {
        let (_, rest) = answer.split_once(&format!("<{name}>"))?;
        Some(rest.split_once("</")?.0.to_owned())
    };
    element("AccessKeyId").zip(element("SecretAccessKey")).context("the S3 server gave no key")
}

async fn iam(endpoint: &str, form: &[(&str, &str)]) -> anyhow::Result<String> {
    const SCOPE: &str = "AWS4-HMAC-SHA256 Credential=nobody/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=none";
    let body: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = reqwest::Client::new()
        .post(endpoint)
        .header("authorization", SCOPE)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    Ok(request.send().await?.error_for_status()?.text().await?)
}
