//! Stamps, what was missed, where the next request goes on, and how replay meets live delivery.

use super::*;

#[test]
fn tags_run_over_all_channels_within_a_second() {
    run(
        zone(),
        Capabilities::default(),
        "0.1 publish a a1
         0.1 publish b/a x
         0.2 poll a.b1 => a:2:x at +0/3
         0.2 poll b.b1 => b:1:x at +0/2
         1.0 publish a a3
         1.0 poll a.b1 => a:3:a3 at +1/1",
    );
    run(
        zone(),
        Capabilities { first_tag: 0, ..Capabilities::default() },
        "0.1 publish a x
         0.1 poll a.b1 => a:1:x at +0/0",
    );
}

#[test]
fn followers_of_the_headers_see_each_message_once() {
    run(
        zone(),
        Capabilities::default(),
        "0.1 publish a a1
         0.1 publish b b1
         0.1 publish a a2
         0.1 poll a/b time=-1 => a:1:a1 b:1:b1 a:2:a2 at +0/3
         0.1 poll a/b time=+0 tag=3 => at +0/3
         0.1 publish b b2
         0.1 poll a/b time=+0 tag=3 => b:2:b2 at +0/4
         1.1 publish a a3
         1.1 poll a/b time=+0 tag=4 => a:3:a3 at +1/1",
    );
}

#[test]
fn replay_of_several_channels_is_channel_after_channel_where_the_module_is_followed() {
    run(
        zone(),
        strict(),
        "0.1 publish a a1
         0.1 publish b b1
         0.1 publish a a2
         0.1 poll a/b time=-1 => a:1:a1 a:2:a2 b:1:b1 at +0/3
         0.1 stream s b.b1/a => b:1:b1
         0.1 stream t b/a.b9 time=-1 => b:1:b1 a:1:a1 a:2:a2",
    );
}

#[test]
fn the_position_of_a_poll_is_echoed_or_moves_to_the_last_message_of_the_channels_read() {
    run(
        zone(),
        strict(),
        "0.1 poll a tag=5 => at -/5
         0.1 poll a time=-100 tag=27 => at -100/27
         0.1 poll a time=-100 => at -100/-
         0.1 publish a x
         0.1 flash a y
         0.1 publish b z
         0.1 poll a.b1/b => a:1:x at +0/2
         0.1 poll a.b1 time=+60 => a:1:x at +60/-
         0.1 poll a tag=1 => at -/1",
    );
}

#[test]
fn event_ids_resume() {
    run(
        zone(),
        strict(),
        "0.1 publish a one one
         0.1 publish a two two
         0.1 poll a event=one => a:2:two at +0/2
         0.1 poll a event=two => at -/-
         0.1 stream s a event=nobody =>",
    );
}

#[test]
fn a_long_poll_waits_only_if_nothing_was_missed() {
    run(
        zone(),
        Capabilities::default(),
        "0.1 wait w a/b worker=1 => at -/- waits
         0.1 census => channels 2+0 published 0 stored 0 trash 0 deleted 0 gone 0 subscribers [0, 1]
         0.1 publish b/a x
         0.1 notes 0 =>
         0.1 news w => b:1:x a:1:x
         0.1 leave w
         0.1 wait w a/b time=+0 tag=1 => a:1:x at +0/2
         0.1 census => channels 2+0 published 2 stored 2 trash 0 deleted 0 gone 0 subscribers [0, 0]
         0.1 publish a y
         0.1 notes 1 =>",
    );
}

#[test]
fn replay_and_live_neither_overlap_nor_leave_a_gap() {
    run(
        zone(),
        Capabilities::default(),
        "0.1 stream s a =>
         0.1 publish a 1
         0.1 stream t a.b9 => a:1:1
         0.1 publish a 2
         0.1 news t => a:2:2",
    );
}

#[test]
fn the_same_channel_twice_is_two_subscriptions() {
    run(
        zone(),
        Capabilities::default(),
        "0.1 stream s a/a/b =>
         0.1 info a/b/a => a:0:0:2 b:0:0:1 a:0:0:2
         0.1 census => channels 2+0 published 0 stored 0 trash 0 deleted 0 gone 0 subscribers [1, 0]
         0.1 says s x
         0.1 info a/b => a:2:2:2 b:1:1:1
         0.1 notes 0 => a:1:x a:2:x b:1:x
         0.1 leave s
         0.1 info a/b => a:2:2:0 b:1:1:0",
    );
}

#[test]
fn a_delete_tells_each_worker_once_and_ends_the_subscriptions() {
    run(
        zone(),
        Capabilities::default(),
        "0.1 stream s a/b =>
         0.1 stream t a worker=1 =>
         0.1 stream u a worker=1 =>
         0.1 delete a => 1
         0.1 notes 0 => a:-2:Channel deleted
         0.1 notes 1 => a:-2:Channel deleted
         0.1 leave t
         0.1 census => channels 1+0 published 0 stored 0 trash 0 deleted 1 gone 0 subscribers [1, 1]
         0.1 publish a x
         0.1 says s y
         0.1 notes 0 => b:1:y
         0.1 info a/b => a:1:1:0 b:1:1:1
         0.1 delete b bye => 1
         0.1 notes 0 => b:-2:bye",
    );
}
