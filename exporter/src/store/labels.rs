//! The labels of one series, as callers give them.

use std::sync::Arc;

use uuid::Uuid;

/// The labels of one series. Own values stand in the order of `FamilyDef::labels`, business
/// values in the order of the label rules; a family without business labels ignores them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// The app; `None` for families that do not belong to apps.
    pub app: Option<AppLabels>,
    /// Values of the family's own labels.
    pub own: Vec<Arc<str>>,
    /// Values of the operator's labels.
    pub business: Vec<Arc<str>>,
}

/// What names an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppLabels {
    /// `app_id`
    pub id: Uuid,
    /// `app`: the name as people see it
    pub name: Arc<str>,
}

impl Labels {
    /// Labels of a series that belongs to an app.
    pub fn of_app(app: &AppLabels, own: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        Labels { app: Some(app.clone()), own: own.into_iter().map(Into::into).collect(), business: Vec::new() }
    }

    /// Labels of a series that belongs to no app.
    pub fn global(own: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        Labels { app: None, own: own.into_iter().map(Into::into).collect(), business: Vec::new() }
    }

    /// The same with the operator's labels.
    #[must_use]
    pub fn with_business(mut self, business: &[Arc<str>]) -> Self {
        self.business = business.to_vec();
        self
    }
}

impl AsRef<Labels> for Labels {
    fn as_ref(&self) -> &Labels {
        self
    }
}

#[cfg(test)]
impl Labels {
    /// Some labels for a family, whichever they are.
    pub(crate) fn default_for(family: &super::FamilyDef) -> Self {
        let app = AppLabels { id: Uuid::from_u128(1), name: "an app".into() };
        Labels::of_app(&app, family.labels.iter().copied())
    }
}
