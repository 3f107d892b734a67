//! Traffic in real time: each transaction commits when its moment has come, over several connections.

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{Connection, PgConnection};
use tokio::sync::mpsc;

use super::{Micros, Target, Write};

/// How live traffic is written.
#[derive(Debug, Clone)]
pub struct Live {
    /// The database.
    pub url: String,
    /// Connections; transactions of one story stay on one of them.
    pub connections: usize,
}

/// Microseconds since the epoch, by this machine's clock.
pub fn now() -> Micros {
    chrono::Utc::now().timestamp_micros()
}

/// Writes until there is nothing more to write or `stop` resolves; `progress` gets the number of transactions and how far the writing is
/// behind its time. Gives the number of transactions.
pub async fn run(
    live: &Live,
    writes: impl IntoIterator<Item = Write>,
    stop: impl Future<Output = ()>,
    mut progress: impl FnMut(u64, Duration),
) -> Result<u64> {
    let mut lanes = Vec::new();
    let mut writers = Vec::new();
    for _ in 0..live.connections.max(1) {
        let mut connection = PgConnection::connect(&live.url).await.context("the database of the simulator")?;
        let target = Target::probe(&mut connection).await?;
        let (sender, receiver) = mpsc::channel(256);
        lanes.push(sender);
        writers.push(tokio::spawn(write_lane(connection, target, receiver)));
    }
    let mut written = 0;
    let mut shown = now();
    tokio::pin!(stop);
    for write in writes {
        let early = write.at - now();
        if early > 0 {
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep(Duration::from_micros(early as u64)) => {}
            }
        }
        let lane = write.lane as usize % lanes.len();
        let sent = tokio::select! {
            () = &mut stop => break,
            sent = lanes[lane].send(write) => sent,
        };
        if sent.is_err() {
            break;
        }
        written += 1;
        if now() - shown > 1_000_000 {
            shown = now();
            progress(written, Duration::from_micros((-early).max(0) as u64));
        }
    }
    // Closed lanes let the writers finish what they have been given, and no more.
    drop(lanes);
    for writer in writers {
        writer.await??;
    }
    Ok(written)
}

async fn write_lane(mut connection: PgConnection, target: Target, mut writes: mpsc::Receiver<Write>) -> Result<()> {
    while let Some(write) = writes.recv().await {
        target.apply(&mut connection, &write).await?;
    }
    connection.close().await?;
    Ok(())
}
