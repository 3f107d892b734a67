//! Which of several instances ships: the one with the lock in Dify's database.

use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::dify::leader::Leadership;
use dify_observe_core::shutdown::Shutdown;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::pipeline::{Role, Shared};

/// How often the lock is kept alive, or tried.
const INTERVAL: Duration = Duration::from_secs(5);

/// Holds the lock, or waits for it, and tells what came of it.
///
/// While the database cannot be asked the role stays what it was: nothing can be read then, and a search engine's position is written by
/// compare-and-set, so that a leader who does not know that it has lost the lock does no harm.
pub(super) async fn hold(mut leadership: Leadership, tell: watch::Sender<Role>, shared: Arc<Shared>, shutdown: Shutdown) {
    // The lock is kept until the last commit, so this goes on while the others finish, and ends with the process.
    loop {
        match leadership.hold().await {
            Ok(leads) => change(&tell, if leads { Role::Leader } else { Role::Standby }),
            Err(error) => {
                if *tell.borrow() == Role::Unknown {
                    shared.board.database(Some(error.to_string()));
                }
            }
        }
        let leads = *tell.borrow() == Role::Leader;
        shared.metrics.leads(leads);
        if *tell.borrow() == Role::Standby {
            // The database was asked and has answered.
            shared.board.database(None);
        }
        let wait = if leads { INTERVAL } else { INTERVAL / 5 };
        if !shutdown.is_finishing() {
            shutdown.sleep(wait).await;
        } else {
            tokio::time::sleep(wait).await;
        }
    }
}

fn change(tell: &watch::Sender<Role>, role: Role) {
    let before = tell.send_replace(role);
    match (before, role) {
        (Role::Leader, Role::Standby) => warn!("another instance has the lock: standing by"),
        (Role::Unknown, Role::Standby) => info!("another instance ships: standing by"),
        (Role::Standby | Role::Unknown, Role::Leader) => info!("this instance ships"),
        _ => {}
    }
}
