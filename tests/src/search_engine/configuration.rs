//! The configuration folder of one engine: outside of the distribution, which all engines of its kind share.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::{Engine, Options, command};
use crate::children::{RunAs, run};

/// Everything but the port.
pub(super) fn write(folder: &Path, options: &Options) -> anyhow::Result<()> {
    for name in ["config", "data", "logs", "tmp", "repo"] {
        fs::create_dir_all(folder.join(name))?;
    }
    let config = folder.join("config");
    let log = LOG.replace("PREFIX", if options.engine == Engine::Elasticsearch8 { "es" } else { "opensearch" });
    fs::write(config.join("log4j2.properties"), log)?;
    fs::write(config.join("jvm.options"), jvm_options(folder, options)?)?;
    if let Some((certificate, key)) = &options.tls {
        fs::write(config.join("cert.pem"), certificate)?;
        fs::write(config.join("key.pem"), key)?;
    }
    if options.engine == Engine::Elasticsearch8 {
        for name in ["users", "users_roles", "roles.yml", "role_mapping.yml"] {
            fs::copy(options.engine.home()?.join("config").join(name), config.join(name))?;
        }
    }
    set_port(folder, options, "0")
}

/// `0`: whichever is free.
pub(super) fn set_port(folder: &Path, options: &Options, port: &str) -> anyhow::Result<()> {
    let file = folder.join("config").join(format!("{}.yml", options.engine.program()));
    Ok(fs::write(file, yaml(folder, options, port)?)?)
}

/// A superuser in the file realm.
pub(super) fn add_user(folder: &Path, options: &Options, run_as: RunAs, name: &str, password: &str) -> anyhow::Result<()> {
    let mut command = command(options.engine, folder, "-users")?;
    run(command.args(["useradd", name, "-p", password, "-r", "superuser"]))?;
    run_as.give_all(folder)
}

fn yaml(folder: &Path, options: &Options, port: &str) -> Result<String, std::fmt::Error> {
    let folder = folder.display();
    let mut yaml = format!(
        "cluster.name: dify-observe-tests\nnode.name: one\npath.data: {folder}/data\npath.logs: {folder}/logs\npath.repo: {folder}/repo\n\
         network.host: 127.0.0.1\nhttp.port: {port}\ntransport.port: 0\ndiscovery.type: single-node\nnode.portsfile: true\n\
         node.store.allow_mmap: false\n"
    );
    // A full disk of the machine would block writes.
    writeln!(yaml, "cluster.routing.allocation.disk.threshold_enabled: false")?;
    // Tests make an index for each kind and period.
    writeln!(yaml, "cluster.max_shards_per_node: 5000")?;
    if options.engine == Engine::Elasticsearch8 {
        writeln!(yaml, "xpack.security.enabled: {}", options.user.is_some())?;
    }
    if options.tls.is_some() {
        writeln!(yaml, "xpack.security.http.ssl.enabled: true")?;
        writeln!(yaml, "xpack.security.http.ssl.key: {folder}/config/key.pem")?;
        writeln!(yaml, "xpack.security.http.ssl.certificate: {folder}/config/cert.pem")?;
    }
    for line in &options.settings {
        writeln!(yaml, "{line}")?;
    }
    Ok(yaml)
}

fn jvm_options(folder: &Path, options: &Options) -> anyhow::Result<String> {
    let (heap, folder) = (options.heap, folder.display());
    let mut text = format!(
        "-Xms{heap}m\n-Xmx{heap}m\n-XX:+UseSerialGC\n-XX:-AlwaysPreTouch\n-Djava.io.tmpdir={folder}/tmp\n\
         -XX:ErrorFile={folder}/logs/error%p.log\n"
    );
    // The quick compiler only: halves the time to start.
    writeln!(text, "-XX:TieredStopAtLevel=1")?;
    match options.engine {
        Engine::OpenSearch2 => writeln!(text, "18-:-Djava.security.manager=allow")?,
        Engine::OpenSearch3 => writeln!(text, "-javaagent:{}/agent/opensearch-agent.jar", options.engine.home()?.display())?,
        Engine::Elasticsearch8 => {}
    }
    Ok(text)
}

const LOG: &str = "status = error
appender.f.type = File
appender.f.name = f
appender.f.fileName = ${sys:PREFIX.logs.base_path}/server.log
appender.f.layout.type = PatternLayout
appender.f.layout.pattern = [%d{ISO8601}][%-5p][%c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.f.ref = f
";
