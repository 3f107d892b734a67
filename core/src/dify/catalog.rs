//! Names and configuration that records refer to: apps, tags, data sets, and the models and tools of workflow graphs.
/// x
#[derive(Debug, Default)]
pub struct Catalog;
impl Catalog {
    /// x
    pub async fn prepare(
        &mut self,
        _t: &mut super::session::ReadTx,
        _e: &[super::follow::Event],
        _s: Option<&std::sync::Arc<super::schema::Schema>>,
        _l: &crate::labels::LabelRules,
    ) -> Result<(), super::session::DatabaseError> {
        Ok(())
    }
}
