//! A story is everything that one request makes Dify write; it has dice, a host and a lane of its own.

use uuid::Uuid;

use super::{
    dice::Dice,
    options::Options,
    profile::Profile,
    texts,
    value::{At, MILLISECOND, Micros, Row, SECOND, Statement, Write, id_of, overlay, row},
    world::{App, World},
};

/// Who called.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) id: Uuid,
    pub(crate) session: String,
    /// `service-api`, `web-app` or `debugger`.
    pub(crate) invoke_from: &'static str,
}

impl Caller {
    pub(crate) fn role(&self) -> &'static str {
        if self.is_account() { "account" } else { "end_user" }
    }

    pub(crate) fn is_account(&self) -> bool {
        self.invoke_from == "debugger"
    }

    pub(crate) fn end_user(&self) -> Option<Uuid> {
        (!self.is_account()).then_some(self.id)
    }

    pub(crate) fn account(&self) -> Option<Uuid> {
        self.is_account().then_some(self.id)
    }
}

/// The writes of one request, in the making.
pub(crate) struct Story<'a> {
    pub(crate) options: &'a Options,
    pub(crate) profile: &'a Profile,
    pub(crate) world: &'a World,
    pub(crate) dice: Dice,
    lane: u64,
    clock: Micros,
    late: Micros,
    writes: Vec<Write>,
}

impl<'a> Story<'a> {
    pub(crate) fn new(options: &'a Options, profile: &'a Profile, world: &'a World, mut dice: Dice, lane: u64) -> Self {
        let clock = if options.host_clocks.is_empty() { 0 } else { *dice.pick(&options.host_clocks) };
        let late = if dice.chance(options.faults.late_story) { dice.between(SECOND, options.faults.late_by) } else { 0 };
        Self { options, profile, world, dice, lane, clock, late, writes: Vec::new() }
    }

    /// A story inside this one: same host, same lane.
    pub(crate) fn inner(&self, dice: Dice) -> Self {
        Self { dice, writes: Vec::new(), ..*self }
    }

    pub(crate) fn into_writes(self) -> Vec<Write> {
        self.writes
    }

    pub(crate) fn append(&mut self, mut writes: Vec<Write>) {
        self.writes.append(&mut writes);
    }

    /// The time that the host's own clock shows: `created_at` and `finished_at` of runs and nodes.
    pub(crate) fn host(&self, at: Micros) -> At {
        At(at + self.clock)
    }

    /// `CURRENT_TIMESTAMP(0)`: the database's clock at the start of the transaction, rounded up or down to the second.
    pub(crate) fn rounded(&self, at: Micros) -> At {
        At((at + SECOND / 2).div_euclid(SECOND) * SECOND)
    }

    /// One transaction.
    pub(crate) fn commit(&mut self, at: Micros, statements: Vec<Statement>) {
        self.writes.push(Write { at: at + self.late, lane: self.lane, statements });
    }

    pub(crate) fn insert(&mut self, at: Micros, table: &'static str, row: Row) {
        self.commit(at, vec![Statement::Insert { table, row }]);
    }

    pub(crate) fn update(&mut self, at: Micros, table: &'static str, id: Uuid, set: Row) {
        self.commit(at, vec![Statement::Update { table, id, set }]);
    }

    /// The first save of a run or node. `mutable` are the columns that a later save may overwrite.
    pub(crate) fn create(&mut self, at: Micros, table: &'static str, row: &Row, mutable: &[&str]) {
        if self.options.celery {
            let set = row.iter().filter(|(column, _)| mutable.contains(column)).cloned().collect();
            self.through_celery(at, table, set, row);
        } else {
            self.insert(at, table, row.clone());
        }
    }

    /// A later save of a run or node: puts `set` over `row`, so that `row` is always the whole row.
    pub(crate) fn save(&mut self, at: Micros, table: &'static str, row: &mut Row, mut set: Row) {
        if self.options.celery {
            set.retain(|(column, _)| *column != "exceptions_count");
            for (_, value) in set.iter_mut().filter(|(column, value)| *column == "error" && value.is_null()) {
                *value = "".into();
            }
            overlay(row, &set);
            self.through_celery(at, table, set, row);
            return;
        }
        overlay(row, &set);
        if self.profile.reinserts {
            self.commit(at, vec![Statement::Merge { table, set, row: row.clone() }]);
        } else {
            self.update(at, table, id_of(row), set);
        }
    }

    /// A save by a Celery task: up to half a minute late, so that saves overtake each other.
    fn through_celery(&mut self, at: Micros, table: &'static str, set: Row, row: &Row) {
        let delay = if self.dice.chance(0.15) { self.dice.between(SECOND, 31 * SECOND) } else { self.dice.duration(30) };
        self.commit(at + delay, vec![Statement::Merge { table, set, row: row.clone() }]);
    }

    /// How long after its own time a row commits, under load.
    pub(crate) fn lag(&mut self) -> Micros {
        let scale = self.options.time_scale;
        let worst = if self.profile.old_engine { 3_000 } else { 1_000 };
        let lag = match self.dice.weighted(&[0.9, 0.09, 0.01]) {
            0 => self.dice.between(3, 51),
            1 => self.dice.between(51, 316),
            _ => self.dice.between(316, worst),
        };
        (lag as f64 * scale.min(1.0) * MILLISECOND as f64) as Micros + self.dice.between(1, 999)
    }

    /// Chooses who calls an app and makes sure that the end user exists.
    pub(crate) fn caller(&mut self, at: Micros, app: &App, debugging: bool) -> Caller {
        if debugging {
            let id = self.world.account;
            return Caller { id, session: id.to_string(), invoke_from: "debugger" };
        }
        let number = (self.dice.exponential(self.options.users as f64 / 3.0) as i64).min(self.options.users);
        let web = number % 3 == 2;
        let session = texts::session(number);
        let id = Uuid::new_v5(&app.id, session.as_bytes());
        let kind = if web { "browser" } else { self.profile.service_user };
        let row = row! {
            "id" => id, "tenant_id" => app.tenant, "app_id" => app.id, "type" => kind,
            "external_user_id" => (!web && !self.profile.old_engine).then_some(session.as_str()),
            "is_anonymous" => web, "session_id" => session.as_str(), "created_at" => self.rounded(at), "updated_at" => self.rounded(at),
        };
        self.commit(at, vec![Statement::Ensure { table: "end_users", row }]);
        Caller { id, session, invoke_from: if web { "web-app" } else { "service-api" } }
    }
}
