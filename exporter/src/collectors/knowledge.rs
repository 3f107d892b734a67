//! Documents, data sets and uploads as gauges.

use dify_observe_core::dify::statistics::{DatasetFacts, DocumentCount, UploadBytes};

use crate::catalogue;
use crate::store::{GaugeSet, Labels};

pub(super) fn documents(counts: &[DocumentCount], gauges: &mut GaugeSet) {
    for count in counts {
        let labels = Labels::global([count.dataset_id.to_string().as_str(), &count.indexing_status]);
        gauges.set(&catalogue::DOCUMENTS, labels, count.documents as f64);
    }
}

pub(super) fn uploads(uploads: &[UploadBytes], gauges: &mut GaugeSet) {
    for upload in uploads {
        gauges.set(&catalogue::UPLOAD_FILES, Labels::global([upload.created_by_role.clone()]), upload.bytes as f64);
    }
}

pub(super) fn datasets(datasets: &[DatasetFacts], gauges: &mut GaugeSet) {
    for dataset in datasets {
        let labels = Labels::global([dataset.id.to_string().as_str(), &dataset.name, dataset.tenant_id.to_string().as_str()]);
        gauges.info(&catalogue::DATASET, labels);
    }
}
