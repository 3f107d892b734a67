//! What somebody hung on Dify's tables: foreign keys and triggers that Dify does not have.

use dify_observe_core::dify::retention::health::{Dependent, OnDelete, dependents};
use dify_observe_core::dify::session::{DatabaseError, ReadTx};
use dify_observe_core::exit::Exit;
use dify_observe_core::finding::{Finding, Level, Report};

pub(super) async fn look(tx: &mut ReadTx, tables: &[String], report: &mut Report) -> Result<(), DatabaseError> {
    report.findings.extend(dependents(tx, tables).await?.iter().map(judge));
    Ok(())
}

fn judge(dependent: &Dependent) -> Finding {
    match dependent {
        Dependent::ForeignKey { name, table, to, filled: false, .. } => {
            Finding::new(Level::Note, "dependents", format!("foreign key {name} of the empty table {table} points at {to}"))
        }
        Dependent::ForeignKey { name, table, to, on_delete: OnDelete::Changes, .. } => {
            let message = format!(
                "foreign key {name} changes or deletes rows of {table} when rows of {to} go, and they would not be archived; drop it, or \
                 give it ON DELETE NO ACTION and remove those rows first"
            );
            Finding::refusal(Exit::NotDify, "dependents", message)
        }
        Dependent::ForeignKey { name, table, to, on_delete: OnDelete::Refuses, .. } => {
            let message = format!(
                "foreign key {name} of {table} refuses the deletion of rows of {to} that it points at, and with them whole batches; remove \
                 those rows first, or drop it"
            );
            Finding::refusal(Exit::NotDify, "dependents", message)
        }
        Dependent::Trigger { name, table } => {
            let message = format!("trigger {name} runs when rows of {table} are deleted; what it does is not archived and not undone");
            Finding::new(Level::Warning, "dependents", message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(on_delete: OnDelete, filled: bool) -> Dependent {
        let text = str::to_owned;
        Dependent::ForeignKey { name: text("fk"), table: text("mine"), to: text("messages"), on_delete, filled }
    }

    #[test]
    fn only_keys_with_rows_behind_them_refuse() {
        for on_delete in [OnDelete::Changes, OnDelete::Refuses] {
            assert_eq!(judge(&key(on_delete, true)).exit, Some(Exit::NotDify));
            assert_eq!(judge(&key(on_delete, false)).exit, None);
        }
        let trigger = judge(&Dependent::Trigger { name: "audit".to_owned(), table: "messages".to_owned() });
        assert_eq!((trigger.level, trigger.exit), (Level::Warning, None));
    }
}
