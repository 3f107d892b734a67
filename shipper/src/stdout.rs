//! Lines on standard output, for whoever reads logs there. At least once: nothing is remembered, and every start begins at `shipper.start`.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use dify_observe_core::exit::Exit;
use futures_util::future::{BoxFuture, FutureExt as _};

use crate::document::Document;
use crate::ndjson::line;
use crate::sink::{Checkpoint, Delivered, Sink, SinkError};

/// Lines on standard output.
pub struct StdoutSink {
    out: Arc<Mutex<dyn Write + Send>>,
}

impl fmt::Debug for StdoutSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StdoutSink")
    }
}

impl Default for StdoutSink {
    fn default() -> Self {
        StdoutSink::new(io::stdout())
    }
}

impl StdoutSink {
    /// Lines that go to `out`.
    pub fn new(out: impl Write + Send + 'static) -> StdoutSink {
        StdoutSink { out: Arc::new(Mutex::new(out)) }
    }

    async fn write(&self, batch: &[Document]) -> Result<Delivered, SinkError> {
        let mut lines = Vec::new();
        batch.iter().for_each(|document| line::write(document, &mut lines));
        let out = self.out.clone();
        // A reader that is slow must not stop the other sinks.
        let written = tokio::task::spawn_blocking(move || {
            let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
            out.write_all(&lines)?;
            out.flush()
        });
        let written = written.await.map_err(io::Error::from).flatten();
        written.map_err(|error| {
            let is_gone = error.kind() == io::ErrorKind::BrokenPipe;
            let problem = format!("standard output cannot be written to ({error}): nobody reads it any more");
            SinkError { problem, exit: if is_gone { Exit::Done } else { Exit::Failed }, fenced: false }
        })?;
        Ok(Delivered { written: batch.len() as u64, ..Delivered::default() })
    }
}

impl Sink for StdoutSink {
    fn open(&self) -> BoxFuture<'_, Result<Option<Checkpoint>, SinkError>> {
        std::future::ready(Ok(None)).boxed()
    }

    fn deliver(&self, batch: Arc<[Document]>) -> BoxFuture<'_, Result<Delivered, SinkError>> {
        async move { self.write(&batch).await }.boxed()
    }

    fn commit<'a>(&'a self, _: &'a Checkpoint) -> BoxFuture<'a, Result<(), SinkError>> {
        std::future::ready(Ok(())).boxed()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::Kind;
    use crate::ndjson::tests::document;

    /// A buffer that its owner can look at.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_document_is_a_line() {
        let out = Shared::default();
        let sink = StdoutSink::new(out.clone());
        assert!(sink.open().await.unwrap().is_none());
        let batch: Vec<Document> = (0..2).map(|number| document(Kind::Message, &number.to_string(), 1, 0, &json!({"a": 1}))).collect();
        assert_eq!(sink.deliver(batch.into()).await.unwrap().written, 2);
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let expected = "{\"_id\":\"0\",\"_kind\":\"message\",\"_version\":1,\"_time\":0,\"a\":1}\n";
        assert_eq!(text, format!("{expected}{}", expected.replace("\"0\"", "\"1\"")));
    }

    #[tokio::test]
    async fn a_reader_that_is_gone_ends_the_process_without_blame() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let batch = vec![document(Kind::Message, "a", 1, 0, &json!({}))];
        assert_eq!(StdoutSink::new(Gone).deliver(batch.into()).await.unwrap_err().exit, Exit::Done);
    }
}
