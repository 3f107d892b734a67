//! Where a measurement was taken.

use std::process::Command;

/// Processor, cores and memory in one line.
pub(crate) fn describe() -> String {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = value_of(&processors, "model name").unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes: f64 = value_of(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0.0);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores ({model}), {:.0} GiB of memory, Linux {}", kibibytes / 1048576.0, kernel.trim())
}

fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find(|line| line.starts_with(name))?.split_once(':').map(|(_, value)| value.trim())
}

/// The load average of the last minute: what else the machine was doing.
pub(crate) fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
}

/// A Debian package and its version; nothing where it is not installed, or not Debian.
pub(crate) fn package_version(package: &str) -> Option<String> {
    let output = Command::new("dpkg-query").args(["-W", "-f", "${Package} ${Version} (Debian)", package]).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned()).filter(|text| output.status.success() && !text.is_empty())
}

/// The first line that a program says of its version.
pub(crate) fn version_of(program: &std::path::Path, argument: &str) -> String {
    let Ok(output) = Command::new(program).arg(argument).output() else { return "unknown version".to_owned() };
    // Some say it on stderr.
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or("unknown version");
    line.split(" (branch").next().unwrap_or(line).to_owned()
}

/// CPU seconds that a process has used so far, with its threads; nothing when it is gone.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program is in parentheses and may hold anything; utime and stime are the 14th and 15th field.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let ticks: f64 = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    // A tick is a hundredth of a second on every Linux that Rust supports.
    Some(ticks / 100.0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_cpu_time_of_this_process_can_be_read() {
        assert!(super::cpu_seconds(std::process::id()).is_some_and(|seconds| seconds >= 0.0));
        assert!(super::load() >= 0.0);
        assert!(super::describe().contains("cores"));
    }
}
