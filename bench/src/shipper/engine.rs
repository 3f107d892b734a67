//! A server that speaks as much of Elasticsearch as is asked of it, says yes to everything, and keeps nothing.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use serde_json::{Value, json};

/// What was sent.
#[derive(Debug, Default)]
struct Counts {
    documents: AtomicU64,
    bytes: AtomicU64,
    sequence: AtomicU64,
}

/// The server. Its threads end with the process.
#[derive(Debug)]
pub(crate) struct YesSayer {
    port: u16,
    counts: Arc<Counts>,
}

impl YesSayer {
    /// Listens on a free port.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("failed to listen")?;
        let port = listener.local_addr()?.port();
        let counts = Arc::new(Counts::default());
        let shared = counts.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counts = shared.clone();
                std::thread::spawn(move || drop(converse(&stream, &counts)));
            }
        });
        Ok(YesSayer { port, counts })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Documents and bytes of bulk requests since the last time that it was asked.
    pub(crate) fn take(&self) -> (u64, u64) {
        (self.counts.documents.swap(0, Ordering::Relaxed), self.counts.bytes.swap(0, Ordering::Relaxed))
    }
}

struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

fn converse(stream: &TcpStream, counts: &Counts) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    let mut writer = stream;
    while let Some(request) = read_request(&mut reader)? {
        let (status, body) = answer(&request, counts);
        let body = if request.method == "HEAD" { String::new() } else { body.to_string() };
        // The Python client asks for the product's name.
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-elastic-product: Elasticsearch\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        writer.write_all((head + &body).as_bytes())?;
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path, body }))
}

fn answer(request: &Request, counts: &Counts) -> (&'static str, Value) {
    let path = request.path.split('?').next().unwrap_or("").trim_start_matches('/');
    let parts: Vec<&str> = path.split('/').collect();
    match (request.method.as_str(), &*parts) {
        ("POST" | "PUT", [.., "_bulk"]) => ("200 OK", bulk(&request.body, counts)),
        ("GET" | "HEAD", [""]) => ("200 OK", json!({ "version": { "number": "8.15.0" }, "tagline": "You Know, for Search" })),
        ("GET", ["_index_template", name]) => ("200 OK", template(name)),
        ("GET", [index, "_mapping"]) => ("200 OK", json!({ *index: { "mappings": { "_meta": { "dify_observe": {} } } } })),
        ("GET", [_, "_doc", _]) => ("404 Not Found", json!({ "found": false })),
        ("PUT", [_, "_doc" | "_create", _]) => {
            let sequence = counts.sequence.fetch_add(1, Ordering::Relaxed);
            ("201 Created", json!({ "result": "created", "_seq_no": sequence, "_primary_term": 1 }))
        }
        ("GET", [_, "_settings", ..]) => ("200 OK", json!({})),
        _ => ("200 OK", json!({ "acknowledged": true })),
    }
}

fn template(name: &str) -> Value {
    let meta = json!({ "dify_observe": { "partitions": [{ "from": "1970-01-01", "length": "week" }] } });
    json!({ "index_templates": [{ "name": name, "index_template": { "_meta": meta } }] })
}

/// Two lines are one document.
fn bulk(body: &[u8], counts: &Counts) -> Value {
    let documents = body.iter().filter(|byte| **byte == b'\n').count() as u64 / 2;
    counts.documents.fetch_add(documents, Ordering::Relaxed);
    counts.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
    let item = json!({ "index": { "status": 201 } });
    json!({ "took": 1, "errors": false, "items": vec![item; documents as usize] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bulk_request_is_counted_and_every_document_acknowledged() {
        let counts = Counts::default();
        let request =
            Request { method: "POST".into(), path: "/_bulk?filter_path=errors".into(), body: b"{\"index\":{}}\n{\"a\":1}\n".to_vec() };
        let (status, body) = answer(&request, &counts);
        assert_eq!((status, body["items"].as_array().map(Vec::len)), ("200 OK", Some(1)));
        assert_eq!(counts.documents.load(Ordering::Relaxed), 1);
    }
}
