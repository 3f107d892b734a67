//! Which records are the past's: those that `serve` does not count.

use anyhow::bail;
use dify_observe_core::dify::follow::{FollowState, HistoryRange};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::{Exit, ResultExt as _};
use dify_observe_core::settings::Settings;

use crate::cli::BackfillArgs;
use crate::engine::Side;
use crate::state::{self, Loaded, State};

/// The range up to the start of `serve`, without what was open then; or up to an assumed start.
pub(super) fn range(settings: &Settings, args: &BackfillArgs) -> anyhow::Result<HistoryRange> {
    let path = settings.state_dir.join("dify-exporter").join("state");
    let follow = if path.exists() {
        match state::read::<State<Option<FollowState>, Side>>(&path, Micros::now())? {
            Loaded::Found(state) => state.follow,
            Loaded::Missing | Loaded::Damaged { .. } => None,
        }
    } else {
        None
    };
    let mut range = match (follow, args.assume_start) {
        (Some(follow), _) => {
            let position = follow.position();
            if position.start == Micros::MIN {
                bail!("`serve` counts from the beginning (exporter.start), so there is nothing left for backfill");
            }
            if !follow.knows_what_was_open() {
                let message = "`serve` has not read all of its tables once since it began, so it is not known yet which older runs it \
                     counts: let it run until dify_exporter_lag_seconds is there for each collector and small, then run backfill again";
                return Err(anyhow::anyhow!(message)).or_exit(Exit::TryLater);
            }
            let except = position.open_at_start.into_iter().collect();
            // Nobody else will tell what committed after the start and bears an earlier time, so its end is what it is by now.
            HistoryRange { from: Micros::MIN, until: position.start, except, as_of: Micros::now().max(position.start) }
        }
        (None, Some(until)) => HistoryRange { from: Micros::MIN, until, except: Default::default(), as_of: until },
        (None, None) => {
            let message = format!(
                "there is no state of `serve` in {}, so it is not known which records it counts: start `serve` first and run backfill with \
                 the same state_dir, or give --assume-start TIME",
                path.display()
            );
            return Err(anyhow::anyhow!(message)).or_exit(Exit::Configuration);
        }
    };
    if let Some(to) = args.to {
        range.until = range.until.min(to);
    }
    Ok(range)
}
