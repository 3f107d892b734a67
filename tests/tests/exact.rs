//! What the tests of exactness share: a quick follower, traffic with every fault, and what plain SQL says about it.

use dify_observe_tests::Schema;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::process::{Process, http_client};
use dify_observe_tests::simulator::{Deletions, Faults, Options, Reference, Simulation, Target, Version, Write, bulk};
use dify_observe_tests::truth::{Figures, QUESTIONS, Question};

pub(crate) const SECOND: i64 = 1_000_000;

/// The follower's times, shrunk so that a day fits into minutes. A slow machine makes rows late, so the last walks come late;
/// on a fast one nothing has to wait for them.
pub(crate) const QUICK: [(&str, &str); 8] = [
    ("DIFY_OBSERVE__FOLLOW__OVERLAP", "2s"),
    ("DIFY_OBSERVE__FOLLOW__TRAIL", "4s,10s,30s,150s"),
    ("DIFY_OBSERVE__FOLLOW__HORIZON", "10m"),
    ("DIFY_OBSERVE__FOLLOW__SETTLE", "500ms"),
    ("DIFY_OBSERVE__FOLLOW__INTERRUPT_AFTER", "3s"),
    ("DIFY_OBSERVE__FOLLOW__ABANDON_AFTER", "30m"),
    ("DIFY_OBSERVE__EXPORTER__MIN_INTERVAL", "0s"),
    ("DIFY_OBSERVE__EXPORTER__BIRTH_HOLD", "0s"),
];

/// For the exporter that comes after the traffic: what is still running then never ends. While traffic is written, a stalled
/// machine must not make a run look abandoned.
pub(crate) const ABANDON: [(&str, &str); 1] = [("DIFY_OBSERVE__FOLLOW__ABANDON_AFTER", "5s")];

/// An exporter of one database, with its state in a folder of its own.
pub(crate) struct Exporter {
    pub(crate) process: Process,
    pub(crate) url: String,
    client: reqwest::Client,
}

impl Exporter {
    pub(crate) async fn start(database_url: &str, state: &std::path::Path, port: u16, more: &[(&str, &str)]) -> anyhow::Result<Self> {
        let listen = format!("127.0.0.1:{port}");
        let state = state.display().to_string();
        let mut environment = vec![
            ("DIFY_OBSERVE__POSTGRES__URL", database_url),
            ("DIFY_OBSERVE__STATE_DIR", &state),
            ("DIFY_OBSERVE__EXPORTER__LISTEN", &listen),
            ("DIFY_OBSERVE__EXPORTER__START", "beginning"),
        ];
        environment.extend(QUICK);
        environment.extend(more);
        let mut process = Process::spawn("dify-exporter", &["serve"], &environment)?;
        let url = format!("http://{listen}");
        process.wait_for_http(&format!("{url}/livez")).await?;
        Ok(Exporter { process, url, client: http_client()? })
    }

    /// An answer as Prometheus gets it.
    pub(crate) async fn scrape(&self) -> anyhow::Result<String> {
        let request = self.client.get(format!("{}/metrics", self.url)).header("X-Prometheus-Scrape-Timeout-Seconds", "10");
        Ok(request.send().await?.error_for_status()?.text().await?)
    }
}

/// What happened in one history, in full and in its final state, in a database of its own.
pub(crate) async fn all_rows(schema: &Schema, reference: &Reference) -> anyhow::Result<TestDatabase> {
    let database = Cluster::shared()?.database(schema).await?;
    bulk::insert_all(&mut database.connect().await?, reference).await?;
    Ok(database)
}

/// What the counters must be.
pub(crate) struct Truth(Vec<(&'static Question, Figures)>);

impl Truth {
    /// Asks a database that holds every row ever written.
    pub(crate) async fn of(database: &TestDatabase) -> anyhow::Result<Self> {
        let mut connection = database.connect().await?;
        let mut answers = Vec::new();
        for question in QUESTIONS.iter().filter(|question| question.needs.iter().all(|table| database.schema().has_table(table))) {
            answers.push((question, question.ask(&mut connection).await?));
        }
        Ok(Truth(answers))
    }

    /// Leaves a question out.
    pub(crate) fn without(mut self, metric: &str) -> Self {
        self.0.retain(|(question, _)| question.metric != metric);
        self
    }

    /// Everything that differs from what was exported.
    pub(crate) fn differences(&self, exported: &Figures) -> Vec<String> {
        self.differences_within(exported, 0.0)
    }

    /// Everything that differs by more than `tolerance`, for values that went through binary fractions.
    pub(crate) fn differences_within(&self, exported: &Figures, tolerance: f64) -> Vec<String> {
        let compare = |(question, figures): &(&Question, Figures)| {
            let question = Question { tolerance: question.tolerance.max(tolerance), ..**question };
            question.differences(figures, &question.read(exported))
        };
        self.0.iter().flat_map(compare).collect()
    }
}

/// Everything that differs between SQL over `truth` and what was exported.
pub(crate) async fn differences(truth: &TestDatabase, exported: &Figures) -> anyhow::Result<Vec<String>> {
    Ok(Truth::of(truth).await?.differences(exported))
}

/// The behaviour of the simulated Dify: every fault, late commits, wrong clocks, in compressed time. Not the Celery repository,
/// which may take an end back for good: what was counted stays counted (`histories` has it).
pub(crate) fn traffic(schema: &Schema, start: i64, arrivals: u64, rate: f64) -> anyhow::Result<Options> {
    let version: Version = schema.version.parse()?;
    // JSON that strict readers refuse cannot be summed in SQL; what is read of it has tests of its own.
    let faults = Faults { odd_json: 0.0, late_by: 5 * SECOND, late_message_by: 4 * SECOND, longest_pause: 5 * SECOND, ..Faults::many() };
    Ok(Options {
        version,
        start,
        arrivals,
        rate,
        time_scale: 0.05,
        host_clocks: vec![0, 0, 0, 3 * SECOND, -SECOND],
        faults,
        deletions: Deletions::none(),
        ..Options::default()
    })
}

/// How long a history goes on after its last request: what Dify would write later still (a feedback, a long pause) is left out.
const TAIL: i64 = 12 * SECOND;

/// Creates the simulated Dify's apps, and works out everything that its traffic will write.
pub(crate) async fn prepare(
    database: &TestDatabase,
    seed: u64,
    options: &Options,
    reference: &mut Reference,
) -> anyhow::Result<Vec<Write>> {
    let simulation = Simulation::new(seed, options.clone());
    let mut connection = database.connect().await?;
    let target = Target::probe(&mut connection).await?;
    for write in simulation.setup(seed) {
        target.apply(&mut connection, &write).await?;
        reference.apply(&write);
    }
    let end = options.start + (options.arrivals as f64 / options.rate) as i64 * SECOND + TAIL;
    let writes: Vec<Write> = simulation.take_while(|write| write.at <= end).collect();
    writes.iter().for_each(|write| reference.apply(write));
    Ok(writes)
}
