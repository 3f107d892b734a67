//! Tokens and money by UTC day, app, model and person, added up exactly.

use std::collections::BTreeMap;

use dify_observe_core::content::PersonIds;
use dify_observe_core::dify::catalog::{App, Catalog};
use dify_observe_core::dify::facts::{ModelUse, message_model_uses, model_use};
use dify_observe_core::dify::follow::Event;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::ShipperSettings;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::columns::{Cell, Column, Holds};

/// The columns of the file.
pub(super) fn columns() -> Vec<Column> {
    let text = ["day", "app_id", "app", "provider", "model", "role", "user_id", "session_id", "currency"];
    let counts = ["calls", "input_tokens", "output_tokens", "total_tokens"];
    let mut columns: Vec<Column> = text.map(|name| Column::new(name, Holds::Text)).into();
    columns.extend(counts.map(|name| Column::new(name, Holds::Long)));
    // As text: a floating-point number would not be exact.
    columns.push(Column::new("cost", Holds::Text));
    columns
}

/// What is added up together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    day: String,
    app: Uuid,
    app_name: String,
    provider: String,
    model: String,
    role: &'static str,
    user: Option<String>,
    session: Option<String>,
    currency: String,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    calls: u64,
    input: u64,
    output: u64,
    total: u64,
    cost: Decimal,
}

/// The sums of the day that is being read.
#[derive(Debug)]
pub(super) struct Usage {
    people: PersonIds,
    sums: BTreeMap<Key, Sum>,
}

/// Whose record it is, and when it was made.
struct Owner {
    app: Uuid,
    at: Micros,
    role: &'static str,
    person: Option<Uuid>,
}

impl Usage {
    pub(super) fn new(settings: &ShipperSettings) -> Self {
        Usage { people: PersonIds::new(settings), sums: BTreeMap::new() }
    }

    /// Adds what a record used.
    pub(super) fn add(&mut self, event: &Event, catalog: &Catalog, wanted: impl Fn(&App) -> bool) {
        match event {
            Event::RunClosed { run, nodes, .. } => {
                let is_end_user = matches!(&*run.created_by_role, "end_user" | "end-user");
                let role = if is_end_user { "end_user" } else { "account" };
                let owner = Owner { app: run.key.app_id, at: run.created_at, role, person: Some(run.created_by) };
                for node in nodes {
                    if let Some(used) = model_use(node, &node.status, catalog.graph_node(run, node)) {
                        self.count(&owner, &used, catalog, &wanted);
                    }
                }
            }
            Event::MessageClosed { message, thoughts, closed } => {
                if let Some(used) = message_model_uses(message, thoughts, *closed) {
                    let role = if message.from_end_user_id.is_some() { "end_user" } else { "account" };
                    let person = message.from_end_user_id.or(message.from_account_id);
                    let owner = Owner { app: message.app_id, at: message.created_at, role, person };
                    self.count(&owner, &used, catalog, &wanted);
                }
            }
            _ => {}
        }
    }

    fn count(&mut self, owner: &Owner, used: &ModelUse, catalog: &Catalog, wanted: &impl Fn(&App) -> bool) {
        let app = catalog.app(owner.app);
        if !wanted(&app) {
            return;
        }
        let end_user = owner.person.filter(|_| owner.role == "end_user").and_then(|person| catalog.end_user(person));
        let key = Key {
            day: owner.at.to_string().chars().take(10).collect(),
            app: app.id,
            app_name: app.name.to_string(),
            provider: used.provider.to_string(),
            model: used.model.to_string(),
            role: owner.role,
            user: owner.person.map(|person| self.people.id(&person.hyphenated().to_string())),
            session: end_user.map(|user| self.people.id(&user.session_id)),
            currency: used.currency.to_string(),
        };
        let sum = self.sums.entry(key).or_default();
        sum.calls += used.calls.len() as u64;
        sum.input += used.prompt_tokens;
        sum.output += used.completion_tokens;
        sum.total += used.total_tokens();
        sum.cost += used.price.unwrap_or_default();
    }

    /// The rows of the day, all of whose records were read.
    pub(super) fn end_of_day(&mut self) -> impl Iterator<Item = Vec<Cell>> {
        std::mem::take(&mut self.sums).into_iter().map(|(key, sum)| row(key, sum))
    }
}

fn row(key: Key, sum: Sum) -> Vec<Cell> {
    let optional = |text: Option<String>| text.map_or(Cell::None, Cell::Text);
    let count = |number: u64| Cell::Long(i64::try_from(number).unwrap_or(i64::MAX));
    vec![
        Cell::Text(key.day),
        Cell::Text(key.app.to_string()),
        Cell::Text(key.app_name),
        Cell::Text(key.provider),
        Cell::Text(key.model),
        Cell::Text(key.role.to_owned()),
        optional(key.user),
        optional(key.session),
        Cell::Text(key.currency),
        count(sum.calls),
        count(sum.input),
        count(sum.output),
        count(sum.total),
        Cell::Text(sum.cost.normalize().to_string()),
    ]
}
