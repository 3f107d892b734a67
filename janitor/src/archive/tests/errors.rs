//! One sentence each.

use std::path::Path;

use dify_observe_core::exit::Exit;
use dify_observe_core::settings::ArchiveSettings;

use super::super::{Archive, ArchiveError};

fn open(url: &str) -> Result<Archive, ArchiveError> {
    Archive::open(&ArchiveSettings { url: url.to_owned(), ..ArchiveSettings::default() }, Path::new("/nonexistent"))
}

#[test]
fn an_address_that_is_none_is_refused() {
    for url in ["", "ftp://host/folder", "s3://", "/var/lib/archive"] {
        let error = open(url).unwrap_err();
        assert_eq!(error.exit(), Exit::Configuration);
        assert!(error.to_string().contains("s3://bucket/prefix"), "{error}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_a_configuration_mistake() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    for folder in [file.clone(), file.join("below")] {
        let archive = open(&format!("file://{}", folder.display())).unwrap();
        let error = archive.prove_writable().await.unwrap_err();
        assert_eq!(error.exit(), Exit::Configuration, "{error}");
        assert!(error.to_string().contains("cannot be written"), "{error}");
    }
}

#[tokio::test]
async fn a_folder_is_made_for_its_owner_and_group() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("deep/archive");
    let archive = open(&format!("file://{}", folder.display())).unwrap();
    archive.prove_writable().await.unwrap();
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o007, 0);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}
