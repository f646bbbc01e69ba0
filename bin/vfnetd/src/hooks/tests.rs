use std::os::unix::fs::OpenOptionsExt as _;

use tempfile::TempDir;

use super::*;

struct Scripts {
    dir: TempDir,
}

impl Scripts {
    fn new() -> Self {
        Self { dir: TempDir::new().expect("a directory") }
    }

    fn add(&self, name: &str, mode: u32, body: &str) {
        use std::io::Write as _;
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("its directory")).expect("a directory");
        let file = std::fs::OpenOptions::new().write(true).create(true).mode(mode).open(path);
        file.expect("a file").write_all(format!("#!/bin/sh\n{body}\n").as_bytes()).expect("room");
    }

    fn run(&self, event: Event, limit: Duration) -> Result<(), HookError> {
        let hooks = Hooks::new(self.dir.path().to_owned(), limit);
        let name = "hw".parse().expect("a name");
        let call = hooks.call(event, &name, "<network>\n  <name>hw</name>\n</network>\n", None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(call.run())
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    fn path(&self) -> std::path::Display<'_> {
        self.dir.path().display()
    }
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn scripts_run_in_order_with_arguments_and_documents() {
    let scripts = Scripts::new();
    let log = format!("echo ${{0##*/}} \"$@\" >> {}/log", scripts.path());
    scripts.add("network", 0o755, &format!("{log}\ncat > {}/stdin", scripts.path()));
    scripts.add("network.d/20-b", 0o755, &log);
    scripts.add("network.d/10-a", 0o755, &log);
    scripts.add("network.d/15-no", 0o644, &log);
    scripts.run(Event::Stopped, LONG).expect("nobody says no");
    assert_eq!(
        scripts.file("log"),
        "network hw stopped end -\n10-a hw stopped end -\n20-b hw stopped end -\n"
    );
    assert_eq!(
        scripts.file("stdin"),
        "<hookData>\n  <network>\n    <name>hw</name>\n  </network>\n</hookData>\n"
    );
}

#[test]
fn a_script_that_others_could_change_is_not_run() {
    for (name, what) in [("network", "network"), ("network.d/10-a", "network.d")] {
        let scripts = Scripts::new();
        let log = format!("echo ran >> {}/log", scripts.path());
        scripts.add("network", 0o755, &log);
        scripts.add(name, 0o755, &log);
        let open = scripts.dir.path().join(what);
        let mode = |mode| std::fs::set_permissions(&open, std::fs::Permissions::from_mode(mode));
        mode(0o775).expect("a mode");
        let refused = scripts.run(Event::Start, LONG).expect_err("others can write to it");
        assert!(refused.to_string().contains("0775 lets others write"), "{refused}");
        assert_eq!(scripts.file("log"), "");
        mode(0o755).expect("a mode");
        scripts.run(Event::Start, LONG).expect("nobody says no");
        assert!(scripts.file("log").starts_with("ran"));
    }
}

#[test]
fn a_script_has_nothing_of_the_daemons_but_its_documents() {
    let scripts = Scripts::new();
    let tell = format!("exec > {}/told; env; ls -l /proc/self/fd", scripts.path());
    scripts.add("network", 0o755, &tell);
    let _open = std::fs::File::create(scripts.dir.path().join("daemons-own")).expect("a file");
    scripts.run(Event::Start, LONG).expect("nobody says no");
    let told = scripts.file("told");
    let variables = told.lines().filter_map(|line| line.split_once('=').map(|(name, _)| name));
    for name in variables {
        assert!(["PATH", "LC_ALL", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name), "{told}");
    }
    assert!(told.contains(" -> "), "{told}");
    assert!(!told.contains("daemons-own"), "{told}");
}

#[test]
fn a_script_of_another_user_is_not_run() {
    let scripts = Scripts::new();
    scripts.add("network", 0o755, "true");
    let script = scripts.dir.path().join("network");
    // Only root can give files away.
    if std::os::unix::fs::chown(&script, Some(64_123), None).is_ok() {
        let refused = scripts.run(Event::Start, LONG).expect_err("it is another user's");
        assert!(refused.to_string().contains("belongs to uid 64123"), "{refused}");
    }
}

#[test]
fn a_directory_that_is_not_there_has_no_scripts() {
    let dir = Path::new("/nonexistent/hooks");
    assert!(scripts(dir).expect("nothing").is_empty());
}

#[test]
fn the_first_script_that_says_no_is_the_last_one_and_its_last_words_are_told() {
    let scripts = Scripts::new();
    let words = "for n in 1 2 3 4 5; do echo line $n >&2; done; exit 3";
    scripts.add("network", 0o755, words);
    scripts.add("network.d/later", 0o755, &format!("touch {}/later", scripts.path()));
    let fault = scripts.run(Event::Start, LONG).expect_err("it says no").to_string();
    let expected = format!(
        "the hook script {}/network ended with exit status: 3 at 'start': line 3; line 4; line 5",
        scripts.path()
    );
    assert_eq!(fault, expected);
    assert!(!scripts.dir.path().join("later").exists());
}

#[test]
fn of_a_script_that_prints_megabytes_the_last_words_are_kept() {
    let scripts = Scripts::new();
    let print = "yes 'many words' | head -n 700000";
    scripts.add("network", 0o755, &format!("{print}; {print} >&2; echo no >&2; exit 1"));
    let fault = scripts.run(Event::Start, LONG).expect_err("it says no").to_string();
    assert!(fault.ends_with(": many words; many words; no"), "{fault}");

    let mut words = LastWords::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(words.hear(tokio::io::repeat(b'x').take(64 << 20)));
    assert!(words.0.len() == LAST_WORDS && words.0.capacity() < 4 * LAST_WORDS, "{words:?}");
}

/// A script that starts another process, notes it, and waits for it without end.
fn hanging() -> Scripts {
    let scripts = Scripts::new();
    let body = "sleep 3600 & echo $! > DIR/child.new; mv DIR/child.new DIR/child; wait";
    scripts.add("network", 0o755, &body.replace("DIR", &scripts.path().to_string()));
    scripts
}

fn assert_child_is_gone(scripts: &Scripts) {
    let child = scripts.file("child");
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
    // It may wait to be reaped by whoever has inherited it.
    let began = std::time::Instant::now();
    while state().is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(began.elapsed() < LONG, "the child lives");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_script_that_neither_reads_nor_ends_is_killed_with_its_children() {
    let scripts = hanging();
    let fault = scripts.run(Event::Started, Duration::from_secs(1)).expect_err("it hangs");
    assert!(matches!(fault, HookError::Late { operation: "started", .. }), "{fault}");
    assert_child_is_gone(&scripts);
}

#[tokio::test]
async fn a_script_that_nobody_waits_for_any_more_is_killed_with_its_children() {
    let scripts = hanging();
    let hooks = Hooks::new(scripts.dir.path().to_owned(), LONG);
    let call = hooks.call(Event::Start, &"hw".parse().expect("a name"), "", None);
    let mut run = Box::pin(call.run());
    while scripts.file("child").is_empty() {
        assert!(is_pending(&mut run).await, "it ends");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(run);
    assert_child_is_gone(&scripts);
}

#[test]
fn what_a_script_leaves_running_does_not_hold_up_its_end() {
    let scripts = Scripts::new();
    scripts.add("network", 0o755, &format!("sleep 30 & echo $! > {}/child", scripts.path()));
    scripts.run(Event::Updated, Duration::from_secs(20)).expect("it has ended");
    let child: i32 = scripts.file("child").trim().parse().expect("a process");
    let pid = Pid::from_raw(child).expect("a process");
    rustix::process::kill_process(pid, Signal::KILL).expect("it was left running");
}

#[tokio::test]
async fn calls_about_a_network_take_turns_in_the_order_they_were_made() {
    let hooks = Hooks::new(PathBuf::from("/nonexistent"), LONG);
    let network = Uuid::from_u128(1);
    let (first, second) = (hooks.turn(network), hooks.turn(network));
    let other = hooks.turn(Uuid::from_u128(2));
    let _other = other.comes().await;
    let first = first.comes().await;
    let mut second = pin!(second.comes());
    assert!(is_pending(&mut second).await, "the second comes before the first is over");
    drop(first);
    let _second = second.await;
}

async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = std::future::ready(()) => true,
    }
}
