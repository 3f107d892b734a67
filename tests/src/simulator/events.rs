//! The simulation: virtual time, arrivals, and the order in which transactions commit.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use uuid::Uuid;

use super::{
    chat, chatflow, deletion,
    dice::Dice,
    document,
    engine::Engine,
    living::Living,
    message::{Ask, Thread},
    node_rows::{self, Owner},
    options::Options,
    plan::{AppKind, Step},
    profile::Profile,
    run::{self, Order},
    shapes::Shaper,
    story::Story,
    texts, trigger,
    value::{DAY, HOUR, Micros, SECOND, Write},
    world::{App, World},
};

/// Something that happens at a moment of virtual time.
enum Event {
    /// A transaction commits.
    Commit(Write),
    /// A request arrives.
    Arrival,
    /// A cleaner runs; its position among the options.
    Clean(usize),
}

struct Due {
    at: Micros,
    order: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Everything that a Dify writes, transaction by transaction, in commit order.
///
/// The same seed and options always give the same transactions. [`Simulation::setup`] creates the apps; the iterator is the
/// traffic.
pub struct Simulation {
    options: Options,
    profile: Profile,
    world: World,
    seed: u64,
    dice: Dice,
    due: BinaryHeap<Reverse<Due>>,
    order: u64,
    arrivals: u64,
    living: Living,
    threads: HashMap<Uuid, Vec<Thread>>,
    deleted_apps: Vec<Uuid>,
    stories: u64,
    average: f64,
}

impl Simulation {
    /// A simulation that begins with its first arrival at `options.start`.
    pub fn new(seed: u64, options: Options) -> Self {
        let profile = Profile::new(options.version);
        let world = World::new(seed, &options, &profile);
        // History and live traffic share a seed (and so their apps), but must not share the ids of their rows.
        let traffic = seed ^ (options.start as u64).rotate_left(17);
        let mut simulation = Self {
            profile,
            world,
            seed: traffic,
            dice: Dice::new(traffic, 5),
            due: BinaryHeap::new(),
            order: 0,
            arrivals: 0,
            living: Living::new(50_000),
            threads: HashMap::new(),
            deleted_apps: Vec::new(),
            stories: 0,
            average: average(&options),
            options,
        };
        simulation.push(simulation.options.start, Event::Arrival);
        for position in 0..simulation.options.deletions.cleaners.len() {
            let every = simulation.options.deletions.cleaners[position].every;
            simulation.push(simulation.options.start + every, Event::Clean(position));
        }
        simulation
    }

    /// What exists before the traffic. Rows that are there already are left alone.
    pub fn setup(&self, seed: u64) -> Vec<Write> {
        self.world.setup(seed, self.options.start)
    }

    /// The apps, workflows and knowledge bases.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The release that is imitated.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The next request as a whole: all transactions that it will ever make, in commit order. For loading finished history;
    /// what the iterator would give is used up by it, and nobody deletes anything.
    pub fn next_story(&mut self) -> Option<Vec<Write>> {
        while let Some(Reverse(due)) = self.due.pop() {
            if let Event::Arrival = due.event {
                self.schedule_next(due.at);
                let mut writes = self.story(due.at);
                writes.sort_by_key(|write| write.at);
                return Some(writes);
            }
        }
        None
    }

    fn push(&mut self, at: Micros, event: Event) {
        self.order += 1;
        self.due.push(Reverse(Due { at, order: self.order, event }));
    }

    fn push_all(&mut self, writes: Vec<Write>) {
        for write in writes.into_iter().filter(|write| !write.statements.is_empty()) {
            self.push(write.at, Event::Commit(write));
        }
    }

    fn schedule_next(&mut self, at: Micros) {
        self.arrivals += 1;
        if self.arrivals < self.options.arrivals {
            let mean = SECOND as f64 / (self.options.rate * self.intensity(at)).max(1e-6);
            let next = at + self.dice.exponential(mean) as Micros + 1;
            if self.options.until.is_none_or(|until| next <= until) {
                self.push(next, Event::Arrival);
            }
        }
    }

    fn arrival(&mut self, at: Micros) {
        self.schedule_next(at);
        let writes = self.story(at);
        self.push_all(writes);
        self.delete_by_chance(at);
    }

    /// Share of the average rate at this moment.
    fn intensity(&self, at: Micros) -> f64 {
        if self.options.daily_curve { weekly(at) / self.average } else { 1.0 }
    }

    fn pick_app(&mut self) -> App {
        let weights: Vec<f64> =
            self.world.apps.iter().map(|app| if self.deleted_apps.contains(&app.id) { 0.0 } else { app.weight }).collect();
        self.world.apps[self.dice.weighted(&weights)].clone()
    }

    fn story(&mut self, at: Micros) -> Vec<Write> {
        self.stories += 1;
        let app = self.pick_app();
        let thread = self.take_thread(&app, at);
        let dice = Dice::new(self.seed, 16 + self.stories);
        let mut story = Story::new(&self.options, &self.profile, &self.world, dice, self.stories);
        let going_on = tell(&mut story, &app, thread.as_ref(), at);
        let writes = story.into_writes();
        if let Some(thread) = going_on {
            let threads = self.threads.entry(app.id).or_default();
            threads.push(thread);
            if threads.len() > 40 {
                threads.remove(0);
            }
        }
        writes
    }

    /// A conversation of the app that goes on with this request.
    fn take_thread(&mut self, app: &App, at: Micros) -> Option<Thread> {
        if matches!(app.kind, AppKind::Workflow(_) | AppKind::Completion) || !self.dice.chance(0.45) {
            return None;
        }
        let threads = self.threads.get_mut(&app.id)?;
        let ready = threads.iter().position(|thread| thread.free_at <= at)?;
        Some(threads.swap_remove(ready))
    }

    fn delete_by_chance(&mut self, at: Micros) {
        let deletions = self.options.deletions.clone();
        if self.dice.chance(deletions.conversation) {
            let writes = deletion::conversation(&self.living, &mut self.dice, at);
            self.push_all(writes);
        }
        if self.dice.chance(deletions.running_run) {
            let writes = deletion::running_run(&self.living, at);
            self.push_all(writes);
        }
        if self.dice.chance(deletions.app) && self.deleted_apps.len() * 2 < self.world.apps.len() {
            let app = self.pick_app().id;
            self.deleted_apps.push(app);
            let writes = deletion::app(&self.living, app, at);
            self.push_all(writes);
        }
    }

    fn clean(&mut self, position: usize, at: Micros) {
        let Some(cleaner) = self.options.deletions.cleaners.get(position).cloned() else { return };
        let writes = deletion::clean(&self.living, &cleaner, &self.profile, at);
        self.push_all(writes);
        if !self.due.is_empty() {
            self.push(at + cleaner.every, Event::Clean(position));
        }
    }

    /// Whether anything but cleaners is still to come.
    fn anything_left(&self) -> bool {
        self.due.iter().any(|due| !matches!(due.0.event, Event::Clean(_)))
    }
}

impl Iterator for Simulation {
    type Item = Write;

    fn next(&mut self) -> Option<Write> {
        while let Some(Reverse(due)) = self.due.pop() {
            match due.event {
                Event::Commit(write) => {
                    self.living.note(&write);
                    return Some(write);
                }
                Event::Arrival => self.arrival(due.at),
                Event::Clean(position) => {
                    if self.anything_left() {
                        self.clean(position, due.at);
                    }
                }
            }
        }
        None
    }
}

/// The shape of a week: busy days, quiet nights and weekends.
fn weekly(at: Micros) -> f64 {
    let hour = (at.rem_euclid(DAY) / HOUR) as f64;
    let daily = 1.0 + 0.7 * ((hour - 9.0) / 24.0 * std::f64::consts::TAU).sin();
    // 1970-01-01 was a Thursday.
    if matches!(at.div_euclid(DAY).rem_euclid(7), 2 | 3) { daily * 0.5 } else { daily * 1.15 }
}

/// The mean of [`weekly`] over the time of a simulation.
fn average(options: &Options) -> f64 {
    let hours = options.until.map_or(7 * 24, |until| ((until - options.start) / HOUR).max(1));
    (0..hours).map(|hour| weekly(options.start + hour * HOUR)).sum::<f64>() / hours as f64
}

/// One request, whatever it asks for.
fn tell(story: &mut Story<'_>, app: &App, thread: Option<&Thread>, at: Micros) -> Option<Thread> {
    if story.dice.chance(story.options.faults.document) {
        document::tell(story, at);
    }
    if app.has_runs() && story.dice.chance(story.options.faults.single_step) {
        single_step(story, app, at);
        return None;
    }
    let trigger = trigger::of(app);
    let debugging = thread.is_none() && trigger.is_none() && story.dice.chance(story.options.faults.debugging);
    let caller = match thread {
        Some(thread) => thread.caller.clone(),
        None => story.caller(at, app, debugging),
    };
    let category = texts::category(&mut story.dice).to_owned();
    let question = texts::question(&mut story.dice);
    if let Some(word) = trigger {
        trigger::tell(story, app, word, super::story::Caller { invoke_from: "service-api", ..caller }, &category, at);
        return None;
    }
    let ask = Ask { app, at: at + SECOND / 100, caller: &caller, category: &category, question: &question, thread };
    match app.kind {
        AppKind::Chatflow(_) => chatflow::tell(story, &ask),
        AppKind::Chat { .. } | AppKind::Completion | AppKind::AgentChat => chat::tell(story, &ask),
        AppKind::Workflow(_) => {
            let order = Order {
                app,
                start: ask.at,
                triggered_from: if debugging { "debugging" } else { "app-run" },
                caller,
                category,
                question,
                conversation: None,
                child: false,
            };
            run::tell(story, &order);
            None
        }
    }
}

/// The author runs one node of the draft.
fn single_step(story: &mut Story<'_>, app: &App, at: Micros) {
    let nodes: Vec<Step> = app.plan.iter().filter(|step| matches!(step, Step::Node(_))).cloned().collect();
    let chosen = story.dice.pick(&nodes).clone();
    let owner = Owner { run: None, tenant: app.tenant, app: app.id, workflow: app.draft, role: "account", created_by: story.world.account };
    let mut dice = story.dice.clone();
    let inputs = super::json::object! { "category" => "phones" };
    let mut engine = Engine {
        options: story.options,
        profile: story.profile,
        world: story.world,
        dice: &mut dice,
        start_child: &mut |_, at| super::engine::ChildResult { end: at, result: Ok((String::new(), 0)) },
        shaper: Shaper { profile: story.profile, faults: &story.options.faults, category: "phones", question: "?" },
        inputs: &inputs,
        traces: Vec::new(),
        text: String::new(),
        context: None,
        previous: None,
    };
    let _ = engine.run(std::slice::from_ref(&chosen), at);
    let traces = std::mem::take(&mut engine.traces);
    for trace in traces.iter().filter(|trace| trace.ended()) {
        node_rows::single_step(story, &owner, trace);
    }
}
