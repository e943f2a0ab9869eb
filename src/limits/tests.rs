//! The ceiling of machines of several sizes.

use super::*;

/// A stock Debian machine with systemd's hard limit on descriptors.
const STOCK: Allowed = Allowed {
    descriptors: Some(524_288),
    maps: Some(65_530),
    pid_max: Some(4_194_304),
    threads_max: Some(190_000),
    user_threads: None,
    cgroup_threads: None,
    address_space: None,
};
const TAKEN: Taken = Taken {
    maps: 80,
    threads: 200,
    cgroup_threads: 15,
    address_space: 200 << 20,
};

#[test]
fn a_stock_machine_has_room_for_8000_and_stays_below_the_cliff() {
    let ceiling = ceiling(&STOCK, &TAKEN);
    assert!(ceiling.sessions >= 8_000, "{ceiling}");
    assert!(u64::from(ceiling.sessions) * 8 + 80 < 65_530, "{ceiling}");
    assert_eq!(ceiling.bound, Some((Bound::Maps, 65_530)));
}

#[test]
fn a_limit_that_cannot_be_read_any_more_holds_and_one_that_can_is_followed() {
    let capacity = Capacity {
        at_start: STOCK,
        taken: TAKEN,
    };
    let no_descriptor_left = Allowed {
        descriptors: STOCK.descriptors,
        ..Allowed::default()
    };
    let at_start = capacity.ceiling_at_start().sessions;
    assert_eq!(capacity.allowed_by(&no_descriptor_left, None), at_start);
    let halved = Allowed {
        maps: Some(32_765),
        ..STOCK
    };
    assert!(capacity.allowed_by(&halved, None) < at_start / 2);
    assert_eq!(capacity.allowed_by(&STOCK, Some(7)), 7);
}

#[test]
fn the_tightest_limit_decides_and_is_named_with_its_knob() {
    let cases = [
        (
            Allowed {
                descriptors: Some(1024),
                ..STOCK
            },
            Bound::Descriptors,
            392,
        ),
        (
            Allowed {
                descriptors: Some(64),
                ..STOCK
            },
            Bound::Descriptors,
            22,
        ),
        (
            Allowed {
                pid_max: Some(1344),
                ..STOCK
            },
            Bound::PidMax,
            500,
        ),
        (
            Allowed {
                threads_max: Some(1344),
                ..STOCK
            },
            Bound::ThreadsMax,
            500,
        ),
        (
            Allowed {
                user_threads: Some(1144),
                ..STOCK
            },
            Bound::UserThreads,
            500,
        ),
        (
            Allowed {
                cgroup_threads: Some(4915),
                ..STOCK
            },
            Bound::CgroupThreads,
            2378,
        ),
        (
            Allowed {
                address_space: Some(1 << 30),
                ..STOCK
            },
            Bound::AddressSpace,
            1136,
        ),
    ];
    for (allowed, bound, sessions) in cases {
        let ceiling = ceiling(&allowed, &TAKEN);
        assert_eq!(
            (ceiling.bound.map(|b| b.0), ceiling.sessions),
            (Some(bound), sessions)
        );
        assert!(ceiling.to_string().contains(bound.knob()), "{ceiling}");
    }
}

#[test]
fn the_smallest_machine_still_serves_one() {
    let tight = Allowed {
        threads_max: Some(100),
        ..STOCK
    };
    assert_eq!(ceiling(&tight, &TAKEN).sessions, 1);
}

#[test]
fn nothing_readable_is_no_limit() {
    assert_eq!(ceiling(&Allowed::default(), &Taken::default()).bound, None);
}
