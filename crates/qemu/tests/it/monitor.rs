//! The monitor's protocol, with what a hostile or broken QEMU may say.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use vfnet_qemu::qmp::{BadLine, EVENT_BYTES, LINE_BYTES, Lines, Message, Qmp, QmpError, QmpEvent};

use crate::bench::PATIENCE;

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"major": 10}}, "capabilities": []}}"#;

fn all(lines: &mut Lines) -> Vec<Result<Message, BadLine>> {
    std::iter::from_fn(|| lines.next_message()).collect()
}

#[test]
fn messages_are_read_however_their_bytes_come() {
    let text = concat!(
        r#"{"QMP": {"version": {}, "capabilities": []}}"#,
        "\r\n",
        r#"{"return": {"status": "running"}, "id": 7}"#,
        "\r\n\r\n",
        r#"{"id": 8, "error": {"class": "GenericError", "desc": "no"}}"#,
        "\n",
        r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "NEW_ONE", "data": {"a": 1}}"#,
        "\n",
        r#"{"timestamp": {}, "event": "STOP"}"#,
        "\n"
    );
    let mut whole = Lines::default();
    whole.push(text.as_bytes());
    let expected: Vec<Message> = all(&mut whole).into_iter().map(Result::unwrap).collect();
    assert_eq!(expected.len(), 5);
    assert!(matches!(&expected[1], Message::Return { id: Some(7), .. }));
    assert!(matches!(&expected[2], Message::Error { id: Some(8), error } if error.desc == "no"));
    assert!(matches!(&expected[3], Message::Event(event) if event.name == "NEW_ONE"));
    assert!(matches!(&expected[4], Message::Event(event) if event.data == Value::Null));

    let mut piecewise = Lines::default();
    let mut found = Vec::new();
    for byte in text.as_bytes() {
        piecewise.push(&[*byte]);
        found.extend(all(&mut piecewise).into_iter().map(Result::unwrap));
    }
    assert_eq!(found, expected);
}

#[test]
fn a_hostile_line_is_an_error_and_the_next_one_is_read() {
    let deep = "[".repeat(100_000);
    let too_long = "x".repeat(LINE_BYTES + 1);
    for bad in [
        "garbage",
        "\u{0}",
        "[]",
        "{}",
        "null",
        r#"{"return""#,
        r#"{"error": "text"}"#,
        r#"{"event": 5}"#,
        &deep,
        &format!(r#"{{"return": {deep}"#),
        &too_long,
    ] {
        let mut lines = Lines::default();
        lines.push(bad.as_bytes());
        lines.push(b"\n");
        lines.push(b"{\"event\": \"STOP\"}\n");
        let messages = all(&mut lines);
        let shown: String = bad.chars().take(30).collect();
        assert_eq!(messages.len(), 2, "{shown}");
        assert!(messages[0].is_err(), "{shown}");
        assert!(matches!(&messages[1], Ok(Message::Event(event)) if event.name == "STOP"));
    }
}

#[test]
fn a_line_without_end_is_told_once_and_not_kept() {
    let mut lines = Lines::default();
    let megabyte = vec![b'x'; 1 << 20];
    for _ in 0..20 {
        lines.push(&megabyte);
    }
    let messages = all(&mut lines);
    assert!(matches!(messages.as_slice(), [Err(BadLine::TooLong)]), "{messages:?}");
}

#[test]
fn of_an_event_longer_than_any_of_qemus_only_the_name_is_kept() {
    let event = |name: &str, bytes: usize| {
        let text = "x".repeat(bytes);
        let mut lines = Lines::default();
        lines.push(format!("{{\"event\":\"{name}\",\"data\":\"{text}\"}}\n").as_bytes());
        match all(&mut lines).pop() {
            Some(Ok(Message::Event(event))) => event,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(event("STOP", 1000).data, json!("x".repeat(1000)));
    let stop = QmpEvent { name: "STOP".to_owned(), data: Value::Null };
    assert_eq!(event("STOP", EVENT_BYTES), stop);
    assert_eq!(event(&"É".repeat(5000), 1).name, "É".repeat(32));
}

#[tokio::test]
async fn commands_beyond_those_under_way_wait_for_their_turn() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (read, mut write) = theirs.into_split();
    let mut requests = BufReader::new(read).lines();
    let greeted = async {
        write.write_all(format!("{GREETING}\r\n").as_bytes()).await.unwrap();
        let request = requests.next_line().await.unwrap().unwrap();
        let request: Value = serde_json::from_str(&request).unwrap();
        write.write_all(format!("{{\"return\":{{}},\"id\":{}}}\n", request["id"]).as_bytes()).await
    };
    let (qmp, greeted) = tokio::join!(Qmp::negotiate(ours, PATIENCE), greeted);
    greeted.unwrap();
    let (qmp, _events) = qmp.unwrap();
    let commands: Vec<_> = (0..40)
        .map(|_| {
            let qmp = qmp.clone();
            tokio::spawn(async move { qmp.execute("stop", Value::Null, PATIENCE).await })
        })
        .collect();
    let mut heard = Vec::new();
    for _command in 0..16 {
        heard.push(requests.next_line().await.unwrap().unwrap());
    }
    let more = tokio::time::timeout(Duration::from_millis(50), requests.next_line()).await;
    assert!(more.is_err(), "a seventeenth is under way: {more:?}");
    let mut answered = 0;
    while let Some(request) = heard.pop() {
        let request: Value = serde_json::from_str(&request).unwrap();
        let answer = format!("{{\"return\":{{}},\"id\":{}}}\n", request["id"]);
        write.write_all(answer.as_bytes()).await.unwrap();
        answered += 1;
        if answered + heard.len() < 40 {
            heard.push(requests.next_line().await.unwrap().unwrap());
        }
    }
    for command in commands {
        command.await.unwrap().unwrap();
    }
}

#[test]
fn bytes_that_are_no_utf8_are_an_error() {
    let mut lines = Lines::default();
    lines.push(b"{\"event\": \"\xff\xfe\"}\n");
    assert!(matches!(all(&mut lines).as_slice(), [Err(BadLine::Json(_))]));
}

/// A connection to a QEMU that greets, accepts capabilities, and answers every further command
/// with the next of these lines, `ID` standing for the command's id.
async fn connected(answers: &'static [&'static str]) -> Qmp {
    let (ours, theirs) = UnixStream::pair().unwrap();
    tokio::spawn(async move {
        let (read, mut write) = theirs.into_split();
        write.write_all(format!("{GREETING}\r\n").as_bytes()).await.unwrap();
        let mut requests = BufReader::new(read).lines();
        let mut answers = [r#"{"return": {}, "id": ID}"#].iter().chain(answers);
        while let (Ok(Some(request)), Some(answer)) = (requests.next_line().await, answers.next()) {
            let request: Value = serde_json::from_str(&request).unwrap();
            let answer = answer.replace("ID", &request["id"].to_string());
            write.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
        }
    });
    Qmp::negotiate(ours, PATIENCE).await.unwrap().0
}

#[tokio::test]
async fn a_refusal_carries_qemus_words() {
    let qmp = connected(&[r#"{"id": ID, "error": {"class": "DeviceNotFound", "desc": "no d"}}"#]);
    let error = qmp.await.execute("device_del", json!({"id": "d"}), PATIENCE).await.unwrap_err();
    let QmpError::Refused { command: "device_del", source } = error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "no d (DeviceNotFound)");
}

#[tokio::test]
async fn answers_to_nobody_and_garbage_before_the_answer_do_no_harm() {
    let qmp = connected(&[
        "{\"return\": 1, \"id\": 999}\n{\"return\": 2}\n%%%\n{\"return\": 3, \"id\": ID}",
    ])
    .await;
    assert_eq!(qmp.execute("x", Value::Null, PATIENCE).await.unwrap(), json!(3));
}

#[tokio::test]
async fn a_connection_that_ends_fails_what_waits_and_what_comes_after() {
    let qmp = connected(&[]).await;
    for _ in 0..2 {
        let error = qmp.execute("stop", Value::Null, PATIENCE).await.unwrap_err();
        assert!(matches!(error, QmpError::Closed), "{error:?}");
    }
}

#[tokio::test]
async fn silence_has_a_limit() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let error = Qmp::negotiate(ours, Duration::from_millis(20)).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, QmpError::Silent { command: "greeting", .. }), "{error:?}");
}

#[tokio::test]
async fn garbage_without_end_closes_the_connection() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    tokio::spawn(async move { while theirs.write_all(b"garbage\n").await.is_ok() {} });
    let error = Qmp::negotiate(ours, PATIENCE).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, QmpError::Closed), "{error:?}");
}
