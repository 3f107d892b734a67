//! Processes of a test are watched, and do not outlive it.

use std::path::Path;
use std::process::Command;

use dify_observe_tests::process::Process;

fn shell(script: &str) -> Process {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    Process::start(Command::new("sh").args(["-c", script]), folder).expect("there is a shell")
}

#[tokio::test]
async fn output_and_exit_code_are_kept() {
    let mut process = shell("echo working; echo failing >&2; exit 64");
    assert_eq!(process.wait().await.unwrap().code(), Some(64));
    assert_eq!((process.stdout().as_str(), process.stderr().as_str()), ("working\n", "failing\n"));
}

#[tokio::test]
async fn a_process_that_ends_too_early_is_an_error_with_its_words() {
    let mut process = shell("echo no database >&2; exit 69");
    let error = process.wait_for_text("ready").await.unwrap_err().to_string();
    assert!(error.contains("no database"), "{error}");
}

#[tokio::test]
async fn a_terminated_process_may_say_goodbye() {
    let mut process = shell("trap 'echo goodbye; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
    process.wait_for_text("ready").await.unwrap();
    process.terminate().unwrap();
    assert!(process.wait().await.unwrap().success());
    assert_eq!(process.stdout(), "ready\ngoodbye\n");
}

#[tokio::test]
async fn a_dropped_process_is_gone_with_its_folder() {
    let mut process = shell("echo ready; exec sleep 600");
    process.wait_for_text("ready").await.unwrap();
    let (pid, folder) = (process.pid(), process.folder().to_owned());
    drop(process);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(!folder.exists());
}
