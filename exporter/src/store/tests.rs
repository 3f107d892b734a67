//! Totals as their users see them.

use dify_observe_core::labels::LabelRules;
use dify_observe_core::settings::LabelsSettings;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::*;
use crate::cap::BusinessLabel;
use crate::catalogue;

fn app(number: u128) -> AppLabels {
    AppLabels { id: Uuid::from_u128(number), name: format!("app {number}").into() }
}

fn node(number: u128, status: &str) -> Labels {
    Labels::of_app(&app(number), ["llm", status])
}

fn scheme(max_series: usize) -> Scheme {
    Scheme { max_series, ..Scheme::default() }
}

fn reloaded(totals: &Totals, scheme: Scheme) -> (Totals, Vec<String>) {
    let mut read: Totals = postcard::from_bytes(&postcard::to_stdvec(totals).unwrap()).unwrap();
    let ended = read.adopt(scheme);
    (read, ended)
}

fn label_sets(totals: &Totals, family: &FamilyDef) -> Vec<String> {
    totals.exposed(family).map(|series| series.label_values().collect::<Vec<_>>().join("/")).collect()
}

#[test]
fn totals_survive_the_state_file_exactly() {
    let mut totals = Totals::new(scheme(2000));
    totals.add(&catalogue::NODE_EXECUTIONS, node(1, "succeeded"), u64::MAX - 1);
    totals.add_decimal(&catalogue::LLM_COST, Labels::default_for(&catalogue::LLM_COST), Decimal::new(1, 28));
    for value in [0.1, 0.2, 0.3, 1e-300, 12_345.678_901_234] {
        totals.observe(&catalogue::NODE_DURATION, node(1, "succeeded"), value, None);
    }
    let (read, ended) = reloaded(&totals, scheme(2000));
    assert!(ended.is_empty() && !read.is_dirty());
    assert_eq!(read.counter(&catalogue::NODE_EXECUTIONS, node(1, "succeeded")), u64::MAX - 1);
    assert_eq!(read.decimal(&catalogue::LLM_COST, Labels::default_for(&catalogue::LLM_COST)), Decimal::new(1, 28));
    let histogram = |totals: &Totals| totals.histogram(&catalogue::NODE_DURATION, node(1, "succeeded")).cloned();
    assert_eq!(histogram(&read), histogram(&totals));
    assert_eq!(postcard::to_stdvec(&read).unwrap(), postcard::to_stdvec(&totals).unwrap());
}

#[test]
fn series_are_sorted_whatever_the_order_of_their_births() {
    let mut totals = Totals::new(scheme(2000));
    for number in [3, 1, 2] {
        totals.touch(&catalogue::NODE_EXECUTIONS, node(number, "b"));
        totals.touch(&catalogue::NODE_EXECUTIONS, node(number, "a"));
    }
    let sets = label_sets(&totals, &catalogue::NODE_EXECUTIONS);
    assert!(sets.is_sorted() && sets.len() == 6, "{sets:?}");
}

#[test]
fn above_the_cap_everything_new_is_other_and_the_choice_survives_a_restart() {
    let mut totals = Totals::new(scheme(2));
    for number in [1, 2, 3, 4, 1] {
        totals.add(&catalogue::NODE_EXECUTIONS, node(number, "ok"), 10);
    }
    let (mut totals, _) = reloaded(&totals, scheme(2));
    totals.add(&catalogue::NODE_EXECUTIONS, node(4, "ok"), 1);
    totals.add(&catalogue::NODE_EXECUTIONS, node(2, "ok"), 1);
    let sets = label_sets(&totals, &catalogue::NODE_EXECUTIONS);
    assert_eq!(sets.len(), 3);
    assert_eq!(sets[2], "other/other/llm/ok", "a status is no matter of one app");
    let other = Labels { app: None, ..node(0, "ok") };
    assert_eq!(totals.counter(&catalogue::NODE_EXECUTIONS, other), 21);
    assert_eq!(totals.counter(&catalogue::NODE_EXECUTIONS, node(1, "ok")), 20);
    assert_eq!(totals.counter(&catalogue::NODE_EXECUTIONS, node(2, "ok")), 11);
    assert_eq!(totals.counter(&catalogue::SERIES_FOLDED, Labels::global(["dify_node_executions"])), 3);
}

#[test]
fn there_is_little_room_for_folded_label_sets() {
    let mut totals = Totals::new(scheme(1));
    for status in 0..1000 {
        totals.add(&catalogue::NODE_EXECUTIONS, node(1, &status.to_string()), 1);
    }
    let sets = label_sets(&totals, &catalogue::NODE_EXECUTIONS);
    assert_eq!(sets.len(), 1 + crate::cap::MOST_FOLDED + 1);
    let other = Labels { app: None, own: vec!["other".into(); 2], business: Vec::new() };
    assert_eq!(totals.counter(&catalogue::NODE_EXECUTIONS, other), 999 - crate::cap::MOST_FOLDED as u64);
}

#[test]
fn folding_hides_what_has_no_bounds() {
    let mut totals = Totals::new(scheme(0));
    totals.add_decimal(&catalogue::LLM_COST, Labels::of_app(&app(1), ["openai", "gpt-4o", "USD"]), Decimal::ONE);
    assert_eq!(label_sets(&totals, &catalogue::LLM_COST), ["other/other/other/other/USD"], "currencies are never mixed");
}

#[test]
fn an_early_birth_above_the_cap_is_none() {
    let mut totals = Totals::new(scheme(1));
    totals.touch(&catalogue::NODE_EXECUTIONS, node(1, "ok"));
    totals.touch(&catalogue::NODE_EXECUTIONS, node(2, "ok"));
    assert_eq!(label_sets(&totals, &catalogue::NODE_EXECUTIONS).len(), 1);
    assert_eq!(totals.counter(&catalogue::SERIES_FOLDED, Labels::global(["dify_node_executions"])), 0);
}

#[test]
fn a_business_label_keeps_the_values_it_met_first() {
    let settings: LabelsSettings = toml::from_str("[category]\nsource = \"input\"\nvariable = \"topic\"\nmax_values = 2").unwrap();
    let scheme = Scheme { business: BusinessLabel::of_rules(&LabelRules::from_settings(&settings).unwrap()), ..Scheme::default() };
    let labels = |value: &str| node(1, "ok").with_business(&[value.into()]);
    let mut totals = Totals::new(scheme.clone());
    for value in ["none", "a", "b", "c", "other", "a"] {
        totals.add(&catalogue::NODE_EXECUTIONS, labels(value), 1);
    }
    let (mut totals, _) = reloaded(&totals, scheme);
    totals.add(&catalogue::NODE_EXECUTIONS, labels("d"), 1);
    let count = |value| totals.counter(&catalogue::NODE_EXECUTIONS, labels(value));
    assert_eq!(["none", "a", "b", "other", "d"].map(count), [1, 2, 1, 3, 3]);
}

#[test]
fn another_set_of_labels_is_another_beginning() {
    let mut totals = Totals::new(scheme(2000));
    totals.add(&catalogue::NODE_EXECUTIONS, node(1, "ok"), 1);
    totals.add(&catalogue::LATE_RECORDS, Labels::global(["runs"]), 1);
    let nameless = Scheme { app_name_label: false, ..Scheme::default() };
    let (mut totals, ended) = reloaded(&totals, nameless);
    assert_eq!(ended, ["dify_node_executions"]);
    assert!(totals.is_dirty());
    assert_eq!(totals.counter(&catalogue::LATE_RECORDS, Labels::global(["runs"])), 1);
    totals.add(&catalogue::NODE_EXECUTIONS, node(1, "ok"), 1);
    assert_eq!(label_sets(&totals, &catalogue::NODE_EXECUTIONS), [format!("{}/llm/ok", Uuid::from_u128(1))]);
}

#[test]
fn without_the_name_label_a_renamed_app_keeps_its_series() {
    let mut totals = Totals::new(Scheme { app_name_label: false, ..Scheme::default() });
    for name in ["old", "new"] {
        let app = AppLabels { id: Uuid::from_u128(1), name: name.into() };
        totals.add(&catalogue::NODE_EXECUTIONS, Labels::of_app(&app, ["llm", "ok"]), 1);
    }
    assert_eq!(totals.label_sets(), 1);
    assert_eq!(totals.counter(&catalogue::NODE_EXECUTIONS, node(1, "ok")), 2);
}

#[test]
fn money_never_falls() {
    let mut totals = Totals::new(Scheme::default());
    let labels = Labels::default_for(&catalogue::LLM_COST);
    totals.add_decimal(&catalogue::LLM_COST, &labels, Decimal::ONE);
    totals.add_decimal(&catalogue::LLM_COST, &labels, Decimal::NEGATIVE_ONE);
    assert_eq!(totals.decimal(&catalogue::LLM_COST, &labels), Decimal::ONE);
}

#[test]
fn a_gauge_has_its_last_value_and_a_family_is_replaced_as_a_whole() {
    let (mut all, mut turn) = (GaugeSet::new(Scheme::default()), GaugeSet::new(Scheme::default()));
    let of =
        |gauges: &GaugeSet| gauges.series(&catalogue::TABLE_ROWS).map(|(labels, value)| (labels[0].to_string(), value)).collect::<Vec<_>>();
    all.set(&catalogue::TABLE_ROWS, Labels::global(["runs"]), 1.0);
    all.set(&catalogue::TABLE_ROWS, Labels::global(["runs"]), 2.0);
    all.set_global(&catalogue::UP, 1.0);
    assert_eq!(of(&all), [("runs".to_owned(), 2.0)]);
    turn.set(&catalogue::TABLE_ROWS, Labels::global(["messages"]), 3.0);
    all.replace_families(turn);
    assert_eq!(of(&all), [("messages".to_owned(), 3.0)]);
    assert_eq!(all.series(&catalogue::UP).count(), 1);
}
