//! What a metric family is: the static half of everything that is exposed.

/// A metric family: name, help, type and labels. All of them stand in [`catalogue`](crate::catalogue).
#[derive(Debug, PartialEq)]
pub struct FamilyDef {
    /// The family's name as OpenMetrics has it: without `_total` and `_info`.
    pub name: &'static str,
    /// One sentence on one line without its final dot.
    pub help: &'static str,
    /// What kind of values it has.
    pub kind: FamilyKind,
    /// The unit, which then also ends the name.
    pub unit: Option<&'static str>,
    /// Labels beyond `app_id` and `app`, in order.
    pub labels: &'static [&'static str],
    /// Whether the series belong to apps.
    pub scope: Scope,
    /// Whether the operator's business labels are added.
    pub business_labels: bool,
}

/// The kind of values that a family has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FamilyKind {
    /// A whole number that only grows.
    Counter,
    /// An exact decimal that only grows: money.
    DecimalCounter,
    /// A classic histogram with these upper bounds (without `+Inf`), and a native one beside it.
    Histogram(&'static [f64]),
    /// A number that goes up and down, found anew at each scrape.
    Gauge,
    /// Facts as labels of a constant 1, found anew at each scrape.
    Info,
}

/// Whether the series of a family belong to apps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `app_id`, and `app` unless `exporter.app_name_label` is off.
    App,
    /// `app_id` and `app`, whatever the setting says: the family that other series are joined with to find the name.
    NamedApp,
    /// No app.
    Global,
}

impl FamilyDef {
    const fn new(name: &'static str, help: &'static str, kind: FamilyKind) -> Self {
        FamilyDef { name, help, kind, unit: None, labels: &[], scope: Scope::App, business_labels: false }
    }

    pub(crate) const fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, FamilyKind::Counter)
    }

    pub(crate) const fn decimal(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, FamilyKind::DecimalCounter)
    }

    pub(crate) const fn histogram(name: &'static str, help: &'static str, bounds: &'static [f64]) -> Self {
        Self::new(name, help, FamilyKind::Histogram(bounds))
    }

    pub(crate) const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, FamilyKind::Gauge)
    }

    pub(crate) const fn info(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, FamilyKind::Info)
    }

    pub(crate) const fn labels(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }

    pub(crate) const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = Some(unit);
        self
    }

    pub(crate) const fn global(mut self) -> Self {
        self.scope = Scope::Global;
        self
    }

    pub(crate) const fn named_app(mut self) -> Self {
        self.scope = Scope::NamedApp;
        self
    }

    pub(crate) const fn business(mut self) -> Self {
        self.business_labels = true;
        self
    }

    /// The name that dashboards and alerts use: with `_total` for counters and `_info` for facts. A histogram's series
    /// have `_bucket`, `_sum` and `_count` after it.
    pub fn exposed_name(&self) -> String {
        format!("{}{}", self.name, self.suffix())
    }

    /// What the exposed name has after [`FamilyDef::name`].
    pub const fn suffix(&self) -> &'static str {
        match self.kind {
            FamilyKind::Counter | FamilyKind::DecimalCounter => "_total",
            FamilyKind::Info => "_info",
            FamilyKind::Histogram(_) | FamilyKind::Gauge => "",
        }
    }

    /// Whether the values are totals that outlive the process.
    pub const fn is_durable(&self) -> bool {
        matches!(self.kind, FamilyKind::Counter | FamilyKind::DecimalCounter | FamilyKind::Histogram(_))
    }
}
