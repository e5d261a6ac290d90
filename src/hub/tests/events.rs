//! The events channel: which events, in which order, and what it is left out of.

use super::*;

fn with_events() -> Zone {
    Zone { events_channel_id: (*b"EV").into(), inactivity: 1, ..zone() }
}

#[test]
fn the_events_channel_tells_what_happens_in_order() {
    run(
        with_events(),
        Capabilities::default(),
        "0.1 stream e EV =>
         0.1 publish a/b x
         0.1 publish a y
         0.1 notes 0 => channel_created:a channel_created:b
         0.2 wait w c worker=1 => at -/- waits
         0.2 notes 0 => channel_created:c client_subscribed:c
         0.2 leave w
         0.2 stream s a/d/a worker=1 =>
         0.2 notes 0 => client_unsubscribed:c channel_created:d client_subscribed:a client_subscribed:d client_subscribed:a
         0.3 delete a => 1
         0.3 notes 0 => client_unsubscribed:a client_unsubscribed:a
         4.1 notes 0 => channel_destroyed:a channel_destroyed:c
         4.1 leave s
         4.1 notes 0 => client_unsubscribed:d
         4.1 stream f EV worker=1 =>
         4.1 leave f
         4.1 notes 0 =>
         4.1 poll new => at -/-
         4.1 notes 0 => channel_created:new",
    );
}

#[test]
fn the_events_channel_is_counted_apart_and_never_goes() {
    run(
        with_events(),
        Capabilities::default(),
        "0.1 publish a x
         0.1 census => channels 2+0 published 1 stored 1 trash 0 deleted 0 gone 0 subscribers [0, 0]
         0.1 list * => EV:1:1:0 a:1:1:0
         0.1 list E* => EV:1:1:0
         0.1 admit EV => EventsChannelReadOnly
         0.1 may-delete a/EV => EventsChannelReadOnly
         0.1 may-ask EV =>
         0.1 delete EV => 0
         0.1 poll EV.b1 => EV:1:{\"type\": \"channel_created\", \"channel\": \"a\"} at +0/1
         0.1 stream s EV/a =>
         0.1 says s x
         0.1 info EV/a => EV:2:2:1 a:2:2:1
         9.9 info EV => EV:2:2:1",
    );
    let mut script = Script::new(with_events(), Capabilities::default());
    script.events_allowed = false;
    script.run(
        "0.1 stream s a/EV => EventsChannelForbidden
         0.1 info a =>",
    );
}

#[test]
fn the_place_of_the_events_channel_in_the_path_decides_whether_a_subscription_is_news() {
    run(
        with_events(),
        Capabilities::default(),
        "0.1 stream s EV/a =>
         0.1 news s => client_subscribed:a
         0.2 stream t b/EV =>
         0.2 news t =>",
    );
}

#[test]
fn an_events_channel_can_come_and_go_with_a_reload() {
    let mut script = Script::new(Zone { inactivity: 1, ..zone() }, Capabilities::default());
    script.run(
        "0.1 publish EV mine
         0.1 publish a x
         0.1 census => channels 2+0 published 2 stored 2 trash 0 deleted 0 gone 0 subscribers [0, 0]",
    );
    script.settings = with_events();
    script.run(
        "0.2 reload
         0.2 publish b x
         0.2 census => channels 3+0 published 3 stored 2 trash 0 deleted 0 gone 0 subscribers [0, 0]
         0.2 info EV => EV:2:2:0",
    );
    script.settings.events_channel_id = (*b"OTHER").into();
    script.run(
        "0.3 reload
         0.3 census => channels 4+0 published 3 stored 4 trash 0 deleted 0 gone 0 subscribers [0, 0]
         0.3 delete EV => 1
         0.3 publish c x
         0.3 info OTHER => OTHER:1:1:0",
    );
}
