//! The janitor: passes, expiry, idle channels, trash; with the timing operators see.

use super::*;

#[test]
fn the_timeline_of_the_janitor_is_the_modules() {
    run(
        Zone { inactivity: 4, ..zone() },
        strict(),
        "0.4 publish gone one
         0.4 publish gone two
         0.4 publish kept x
         0.4 flash idle x
         0.4 delete gone => 1
         0.7 census => channels 2+0 published 4 stored 3 trash 1 deleted 1 gone 0 subscribers [0, 0]
         4.0 census => channels 2+0 published 4 stored 1 trash 3 deleted 0 gone 1 subscribers [0, 0]
         8.3 census => channels 1+0 published 4 stored 1 trash 3 deleted 0 gone 2 subscribers [0, 0]
         12.2 census => channels 1+0 published 4 stored 1 trash 2 deleted 0 gone 2 subscribers [0, 0]
         16.1 census => channels 1+0 published 4 stored 1 trash 0 deleted 0 gone 1 subscribers [0, 0]
         20.0 census => channels 1+0 published 4 stored 1 trash 0 deleted 0 gone 0 subscribers [0, 0]",
    );
}

#[test]
fn messages_expire_at_a_pass_after_their_ttl() {
    run(
        Zone { message_ttl: 1, ..zone() },
        strict(),
        "0.3 publish a x
         0.4 poll a.b1 => a:1:x at +0/1
         3.9 poll a.b1 => a:1:x at +0/1
         7.8 poll a.b1 => at -/-
         7.8 census => channels 1+0 published 1 stored 0 trash 1 deleted 0 gone 0 subscribers [0, 0]",
    );
    run(
        Zone { message_ttl: 2, ..zone() },
        strict(),
        "0.3 publish a old
         8.5 publish a new
         8.5 poll a.b9 => a:2:new at +8/1
         8.5 info a => a:2:1:0",
    );
}

#[test]
fn messages_are_also_looked_at_every_five_seconds_after_the_first_publish() {
    // First publish at 4.5: passes at 8, 12 and, for messages only, at 9.5.
    run(
        Zone { message_ttl: 4, inactivity: 5, ..zone() },
        strict(),
        "4.5 publish a x
         5.5 publish b x
         8.2 info a/b => a:1:0:0 b:1:1:0
         9.8 info a/b => a:1:0:0 b:1:0:0
         12.1 census => channels 0+0 published 2 stored 0 trash 2 deleted 0 gone 2 subscribers [0, 0]",
    );
}

#[test]
fn idle_channels_go_and_used_ones_stay() {
    run(
        Zone { inactivity: 1, ..zone() },
        strict(),
        "0.3 poll a => at -/-
         0.3 publish m x
         0.3 stream s b =>
         0.3 info a/m/b => a:0:0:0 m:1:1:0 b:0:0:1
         7.8 info a/m/b => m:1:1:0 b:0:0:1
         7.8 leave s
         8.3 info b =>
         8.3 census => channels 1+0 published 1 stored 1 trash 0 deleted 0 gone 2 subscribers [0, 0]
         8.3 poll a => at -/-
         8.3 info a => a:0:0:0",
    );
}

#[test]
fn publishing_and_subscribing_prolong_a_channel_and_polling_does_not() {
    run(
        Zone { inactivity: 5, ..zone() },
        strict(),
        "0.1 poll a/b/c => at -/-
         4.5 poll a => at -/-
         4.5 flash b x
         4.5 wait w c => at -/- waits
         4.5 leave w
         8.1 info a/b/c => b:1:0:0 c:0:0:0
         12.1 info a/b/c =>",
    );
}

#[test]
fn a_recreated_channel_starts_again() {
    run(
        zone(),
        strict(),
        "0.1 publish a 1
         0.1 publish a 2
         0.2 delete a/a/ghost => 1
         0.2 info a =>
         0.2 publish a 3
         0.2 info a => a:1:1:0
         0.2 poll a.b9 => a:1:3 at +0/3",
    );
}

#[test]
fn a_shorter_ttl_takes_effect_for_new_messages_though_older_ones_live_on() {
    let mut script = Script::new(zone(), Capabilities::default());
    script.run("0.1 publish a long");
    script.settings.message_ttl = 2;
    script.run(
        "0.1 reload
         0.1 publish a short
         0.1 publish b short
         4.1 poll a.b9/b.b9 => a:1:long at +0/2
         4.1 publish a newer
         4.1 poll a.b9 => a:1:long a:3:newer at +4/1",
    );
}

#[test]
fn a_sweep_takes_a_page_of_what_is_due_and_says_whether_more_is() {
    let hub = Hub::new(Zone { inactivity: 0, ..zone() }, Capabilities::default(), 1, Now(START * 1000), FLOOR);
    for n in 0..2000 {
        hub.admit_publish(&ids(&n.to_string()), Now(START * 1000)).unwrap();
    }
    assert!(!hub.sweep(Now(START * 1000 + 3999)));
    let gone = || hub.census(Now(START * 1000 + 4000)).channels_in_trash;
    let mut before = gone();
    while hub.sweep(Now(START * 1000 + 4000)) {
        let page = gone() - before;
        assert!((1..=500).contains(&page), "others wait while {page} channels go at once");
        before = gone();
    }
    let census = hub.census(Now(START * 1000 + 4000));
    assert_eq!((census.channels, census.channels_in_trash, census.memory_used, census.uptime), (0, 2000, 0, 4));
}
