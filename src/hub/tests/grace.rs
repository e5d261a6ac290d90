//! The grace for channels that a start has forgotten.

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef";

fn hub(settings: Zone) -> Hub {
    Hub::new(settings, Capabilities::default(), 1, Now(START * 1000), FLOOR)
}

fn settings() -> Zone {
    Zone { unknown_grace: 60, ..zone() }
}

fn ask(hub: &Hub, id: &str, second: u64) -> Result<(), Refusal> {
    let path = parse_channel_path(id.as_bytes());
    let replay = Replay::default();
    let ask = Ask { authorized_only: true, ..Ask::unrestricted(0, &path, &replay, AskKind::LongPoll) };
    hub.subscribe(&ask, Now((START + second) * 1000)).map(drop)
}

#[test]
fn a_channel_of_before_is_waited_for_until_the_grace_is_over() {
    let hub = hub(settings());
    assert_eq!(ask(&hub, ID, 0), Ok(()));
    // The channel is there now, and still without a message.
    assert_eq!(ask(&hub, ID, 59), Ok(()));
    assert_eq!(ask(&hub, ID, 60), Err(Refusal::NotAuthorized));
}

#[test]
fn what_nobody_gave_out_is_refused_at_once() {
    let hub = hub(settings());
    for id in ["a", "1234567", "with space 12345", "<script>alert"] {
        assert_eq!(ask(&hub, id, 0), Err(Refusal::NotAuthorized), "{id}");
    }
    assert_eq!(ask(&hub, "12345678", 0), Ok(()));
}

#[test]
fn nobody_is_waited_for_where_it_is_off_or_every_channel_is_known() {
    assert_eq!(ask(&hub(zone()), ID, 0), Err(Refusal::NotAuthorized));
    for (clean, expected) in [(true, Err(Refusal::NotAuthorized)), (false, Ok(()))] {
        let hub = hub(settings());
        let marks = crate::log::Marks { time: START as u32, clean, ..crate::log::Marks::default() };
        hub.apply(crate::log::Entry::Marks(marks), Now(START * 1000));
        hub.restored(clean, Now(START * 1000));
        assert_eq!(ask(&hub, ID, 0), expected);
    }
}

#[test]
fn publishers_keep_half_of_the_channels() {
    let hub = hub(Zone { max_channels: Some(6), ..settings() });
    for n in 0..3 {
        assert_eq!(ask(&hub, &format!("{ID}{n}"), 0), Ok(()));
    }
    assert_eq!(ask(&hub, &format!("{ID}x"), 0), Err(Refusal::NotAuthorized));
    for n in 0..3 {
        assert_eq!(hub.admit_publish(&[format!("new{n}").as_str().into()], Now(START * 1000)), Ok(()));
    }
}
