use std::collections::BTreeSet;

use dify_observe_core::settings::PoliciesSettings;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

const DAY: i64 = 24 * 3600;
const NOW: Micros = Micros::from_secs(1000 * DAY);

fn policies(text: &str) -> Policies {
    let settings: PoliciesSettings = toml::from_str(text).unwrap();
    Policies::new(&JanitorSettings { policies: settings, ..JanitorSettings::default() })
}

fn id(number: u8) -> Uuid {
    Uuid::from_bytes([number; 16])
}

fn app(number: u8, name: &str, tags: &[&str]) -> AppFacts {
    let app = App {
        id: id(number),
        tenant_id: Some(id(100)),
        name: name.into(),
        mode: "workflow".into(),
        status: "normal".into(),
        tags: tags.iter().map(|tag| (*tag).into()).collect(),
    };
    AppFacts { app: Arc::new(app), newest: HashMap::new() }
}

fn run(app: u8, status: &str, age_days: i64) -> Bundle {
    let ended_at = Micros(NOW.0 - age_days * DAY * 1_000_000);
    Bundle {
        root: Root::Run,
        id: id(1),
        tenant_id: id(100),
        app_id: id(app),
        status: Some(status.to_owned()),
        ended_at,
        newest: ended_at,
        runs: Vec::new(),
        messages: Vec::new(),
    }
}

fn conversation(app: u8, age_days: i64) -> Bundle {
    Bundle { root: Root::Conversation, status: None, ..run(app, "", age_days) }
}

fn goes(decision: &Decision) -> Option<&str> {
    match decision {
        Decision::Goes { policy } => Some(policy),
        Decision::Stays(_) => None,
    }
}

#[test]
fn without_policies_the_age_decides() {
    let policies = policies("");
    let facts = app(1, "a", &[]);
    assert_eq!(goes(&policies.decide(&run(1, "succeeded", 31), &facts, NOW)), Some("default"));
    assert_eq!(goes(&policies.decide(&conversation(1, 31), &facts, NOW)), Some("default"));
    let young = Decision::Stays(Stay::Young { policy: "default".into() });
    assert_eq!(policies.decide(&run(1, "succeeded", 30), &facts, NOW), young, "exactly 30 days is not more than 30 days");
    assert_eq!(policies.decide(&run(1, "succeeded", -5), &facts, NOW), young, "a clock that is ahead");
}

#[test]
fn ages_are_by_app_tag_tenant_and_status() {
    let policies = policies(
        "[keep-nothing]\napps = [\"Secrets\", \"02020202-0202-0202-0202-020202020202\"]\nage = \"10m\"\n\
         [failed]\nstatuses = \"failed\"\nage = \"90d\"\n\
         [long]\ntags = [\"audit\"]\nage = \"365d\"\n\
         [theirs]\ntenants = \"65656565-6565-6565-6565-656565656565\"\nage = \"5d\"\n",
    );
    let decide = |bundle: &Bundle, facts: &AppFacts| goes(&policies.decide(bundle, facts, NOW)).map(str::to_owned);
    assert_eq!(decide(&run(1, "succeeded", 1), &app(1, "Secrets", &[])).as_deref(), Some("keep-nothing"));
    assert_eq!(decide(&run(2, "succeeded", 1), &app(2, "Other", &[])).as_deref(), Some("keep-nothing"), "by id");
    assert_eq!(decide(&run(3, "succeeded", 1), &app(3, "Other", &[])), None);
    assert_eq!(decide(&run(1, "failed", 31), &app(1, "Secrets", &[])), None, "the longest age counts");
    assert_eq!(decide(&conversation(3, 31), &app(3, "Other", &[])).as_deref(), Some("default"), "it has no status");
    assert_eq!(decide(&run(3, "succeeded", 31), &app(3, "Other", &["x", "audit"])), None);
    assert_eq!(decide(&run(3, "succeeded", 400), &app(3, "Other", &["audit"])).as_deref(), Some("long"));
    assert_eq!(policies.loosest_cutoff(NOW), NOW.minus(Duration::from_secs(600)));

    let mut theirs = run(3, "succeeded", 6);
    theirs.tenant_id = id(101);
    let mut facts = app(3, "Other", &[]);
    facts.app = Arc::new(App { tenant_id: Some(id(101)), ..(*facts.app).clone() });
    assert_eq!(decide(&theirs, &facts).as_deref(), Some("theirs"));
}

#[test]
fn a_name_fits_no_deleted_app_and_an_id_does() {
    let policies = policies("[a]\napps = \"deleted, 01010101-0101-0101-0101-010101010101\"\nhold = true\n");
    let deleted = |number: u8| {
        let mut facts = app(number, "deleted", &[]);
        facts.app = Arc::new(App { tenant_id: None, ..(*facts.app).clone() });
        facts
    };
    assert!(goes(&policies.decide(&run(1, "succeeded", 31), &deleted(1), NOW)).is_none());
    assert!(goes(&policies.decide(&run(2, "succeeded", 31), &deleted(2), NOW)).is_some());
}

#[test]
fn a_hold_outranks_everything() {
    let policies = policies("[a]\napps = \"X\"\nage = \"1m\"\n[b]\ntags = \"legal hold\"\nhold = true\n");
    let decision = policies.decide(&run(1, "succeeded", 999), &app(1, "X", &["legal hold"]), NOW);
    assert_eq!(decision, Decision::Stays(Stay::Held { policy: "b".into() }));
}

#[test]
fn the_newest_stay_whatever_their_age() {
    let policies = policies("[few]\nstatuses = \"failed\"\nkeep_last = 3\n[all]\nkeep_last = 10\n");
    let mut facts = app(1, "X", &[]);
    let questions = policies.questions(&facts.app, id(100));
    let failed = Question { root: Root::Run, count: 3, statuses: vec!["failed".to_owned()] };
    let every = |root| Question { root, count: 10, statuses: Vec::new() };
    assert_eq!(questions, [every(Root::Run), every(Root::Conversation), failed.clone()]);

    let days_ago = |days: i64| Some(Micros(NOW.0 - days * DAY * 1_000_000));
    facts.newest = HashMap::from([(failed, days_ago(100)), (every(Root::Run), days_ago(40)), (every(Root::Conversation), None)]);
    let decide = |bundle: Bundle| policies.decide(&bundle, &facts, NOW);
    assert_eq!(goes(&decide(run(1, "succeeded", 41))), Some("default"));
    assert_eq!(decide(run(1, "succeeded", 40)), Decision::Stays(Stay::KeptLast { policy: "all".into() }));
    assert_eq!(decide(run(1, "failed", 41)), Decision::Stays(Stay::KeptLast { policy: "few".into() }));
    assert_eq!(goes(&decide(run(1, "failed", 101))), Some("default"));
    assert!(goes(&decide(conversation(1, 999))).is_none(), "there are fewer than ten");
    facts.newest.clear();
    assert!(goes(&policies.decide(&run(1, "succeeded", 999), &facts, NOW)).is_none(), "not known: all stay");
}

/// A random policy in the words of the configuration.
fn random_policy(rng: &mut ChaCha8Rng) -> PolicySettings {
    let mut policy = PolicySettings::default();
    if rng.random_bool(0.4) {
        policy.apps = vec![["one", "two", "03030303-0303-0303-0303-030303030303"][rng.random_range(0..3)].to_owned()];
    }
    if rng.random_bool(0.3) {
        policy.tags = vec![["red", "blue"][rng.random_range(0..2)].to_owned()];
    }
    if rng.random_bool(0.3) {
        policy.statuses = vec![["failed", "succeeded"][rng.random_range(0..2)].to_owned()];
    }
    match rng.random_range(0..4) {
        0 => policy.hold = true,
        1 => policy.keep_last = Some(rng.random_range(1..5)),
        _ => policy.age = Some(Duration::from_secs(rng.random_range(60..100 * DAY as u64))),
    }
    policy
}

fn with(policies: &[PolicySettings]) -> Policies {
    let named = policies.iter().enumerate().map(|(number, policy)| (format!("p{number}"), policy.clone())).collect();
    Policies::new(&JanitorSettings { policies: PoliciesSettings(named), ..JanitorSettings::default() })
}

/// All bundles of a small world, with facts answered from it as the database would.
struct World {
    bundles: Vec<Bundle>,
    began: Vec<Micros>,
    apps: Vec<AppFacts>,
}

impl World {
    fn random(rng: &mut ChaCha8Rng) -> World {
        let apps = vec![app(1, "one", &["red"]), app(2, "two", &["red", "blue"]), app(3, "three", &[])];
        let mut world = World { bundles: Vec::new(), began: Vec::new(), apps };
        for _ in 0..60 {
            let (app, age) = (rng.random_range(1..4), rng.random_range(0..120));
            let bundle =
                if rng.random_bool(0.3) { conversation(app, age) } else { run(app, ["failed", "succeeded"][rng.random_range(0..2)], age) };
            world.began.push(Micros(bundle.ended_at.0 - rng.random_range(0..3 * DAY) * 1_000_000));
            world.bundles.push(bundle);
        }
        world
    }

    fn answer(&self, app_id: Uuid, question: &Question) -> Option<Micros> {
        let asked = |bundle: &Bundle| {
            let status = bundle.status.as_ref();
            let fits = question.statuses.is_empty() || status.is_some_and(|status| question.statuses.contains(status));
            bundle.app_id == app_id && bundle.root == question.root && fits
        };
        let mut began: Vec<Micros> =
            self.bundles.iter().zip(&self.began).filter(|(bundle, _)| asked(bundle)).map(|(_, began)| *began).collect();
        began.sort_unstable_by(|a, b| b.cmp(a));
        began.get(question.count as usize - 1).copied()
    }

    fn gone(&self, policies: &Policies) -> BTreeSet<usize> {
        let facts: HashMap<Uuid, AppFacts> = self
            .apps
            .iter()
            .map(|facts| {
                let questions = policies.questions(&facts.app, id(100));
                let newest = questions.into_iter().map(|question| (question.clone(), self.answer(facts.app.id, &question))).collect();
                (facts.app.id, AppFacts { app: facts.app.clone(), newest })
            })
            .collect();
        let goes = |bundle: &Bundle| goes(&policies.decide(bundle, &facts[&bundle.app_id], NOW)).is_some();
        self.bundles.iter().enumerate().filter(|(_, bundle)| goes(bundle)).map(|(number, _)| number).collect()
    }
}

/// The same policy with one key made stricter.
fn stricter(policy: &PolicySettings, rng: &mut ChaCha8Rng) -> PolicySettings {
    let mut policy = policy.clone();
    match rng.random_range(0..3) {
        0 => policy = PolicySettings { hold: true, age: None, keep_last: None, ..policy },
        1 => policy.keep_last = (!policy.hold).then(|| policy.keep_last.unwrap_or_default() + rng.random_range(1..4)),
        _ => policy.age = policy.age.map(|age| age * 2),
    }
    policy
}

#[test]
fn a_stricter_policy_never_lets_more_go() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let mut changed = 0;
    for round in 0..2000 {
        let world = World::random(&mut rng);
        let mut rules: Vec<PolicySettings> = (0..rng.random_range(1..5)).map(|_| random_policy(&mut rng)).collect();
        let before = world.gone(&with(&rules));
        let chosen = rng.random_range(0..rules.len());
        rules[chosen] = stricter(&rules[chosen], &mut rng);
        let after = world.gone(&with(&rules));
        assert!(after.is_subset(&before), "round {round}: {rules:?}");
        changed += usize::from(after != before);
    }
    assert!(changed > 200, "the rounds tried nothing: {changed}");
}

#[test]
fn a_policy_that_keeps_never_lets_more_go_when_added() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for round in 0..1000 {
        let world = World::random(&mut rng);
        let mut rules: Vec<PolicySettings> = (0..rng.random_range(0..4)).map(|_| random_policy(&mut rng)).collect();
        let before = world.gone(&with(&rules));
        // An age of its own may be shorter than the default one: only these three cannot let more go.
        let mut added = random_policy(&mut rng);
        added.age = added.age.map(|age| age + Duration::from_secs(30 * DAY as u64));
        rules.push(added);
        assert!(world.gone(&with(&rules)).is_subset(&before), "round {round}: {rules:?}");
    }
}

#[test]
fn keep_last_keeps_at_least_so_many() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    for _ in 0..500 {
        let world = World::random(&mut rng);
        let count = rng.random_range(1..6);
        let gone = world.gone(&with(&[PolicySettings { keep_last: Some(count), ..PolicySettings::default() }]));
        for facts in &world.apps {
            for root in [Root::Run, Root::Conversation] {
                let mut of_app: Vec<(Micros, usize)> = world
                    .bundles
                    .iter()
                    .enumerate()
                    .filter(|(_, b)| b.app_id == facts.app.id && b.root == root)
                    .map(|(n, b)| (b.ended_at, n))
                    .collect();
                of_app.sort_unstable_by(|a, b| b.cmp(a));
                let newest = of_app.iter().take(count as usize);
                assert!(newest.clone().all(|(_, number)| !gone.contains(number)), "one of the newest {count} is gone");
            }
        }
    }
}
