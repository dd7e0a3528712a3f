/*
 * Delays after failed logins: growth, both keys, parallel attempts, users who are known where
 * they are, bounded memory.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "auth/penalty.h"

#define HOME    "192.0.2.1"
#define AWAY    "198.51.100.7"
#define SECOND  INT64_C(1000)
#define HOUR    (3600 * SECOND)
#define NOBODYS 100000

static struct penalty *p;

static void
set_up(void)
{
    p = penalty_new(2);
}

static void
tear_down(void)
{
    penalty_free(&p);
    ck_assert_ptr_null(p);
}

/* One attempt with its outcome, looked at when its slot comes. Returns how long it waited. */
static int64_t
attempt(const char *user, const char *address, bool ok, int64_t now)
{
    struct penalty_slot slot;
    int64_t wait = penalty_admit(p, user, address, now, &slot);

    if (wait >= 0)
        penalty_result(p, &slot, ok, now + wait);
    return wait;
}

START_TEST(test_doubles_up_to_a_minute)
{
    static const int64_t expected[] = {0, 2, 4, 8, 16, 32, 60, 60};
    int64_t now = HOUR, wait;
    char address[32];

    /* from another network each time: the user's count */
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        snprintf(address, sizeof address, "203.0.113.%zu", i + 1);
        wait = attempt("ann", address, false, now);
        ck_assert_int_eq(wait, expected[i] * SECOND);
        now += wait;
    }
    ck_assert_int_eq(attempt("bob", AWAY, false, now), 0);
}
END_TEST

START_TEST(test_network_up_to_15_seconds)
{
    static const int64_t expected[] = {0, 2, 4, 8, 15, 15};
    int64_t now = HOUR, wait;
    char user[32];

    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        snprintf(user, sizeof user, "user%zu", i);
        wait = attempt(user, AWAY, false, now);
        ck_assert_int_eq(wait, expected[i] * SECOND);
        now += wait;
    }
    ck_assert_int_eq(attempt("other", HOME, false, now), 0);
}
END_TEST

START_TEST(test_v6_network_is_a_64)
{
    ck_assert_int_eq(attempt("a", "2001:db8:1:2::1", false, HOUR), 0);
    ck_assert_int_eq(attempt("b", "2001:db8:1:2:ffff::2", false, HOUR), 2 * SECOND);
    ck_assert_int_eq(attempt("c", "2001:db8:1:3::1", false, HOUR), 0);
}
END_TEST

START_TEST(test_local_has_no_network)
{
    ck_assert_int_eq(attempt("a", "local", false, HOUR), 0);
    ck_assert_int_eq(attempt("b", "local", false, HOUR), 0);
    ck_assert_int_eq(attempt("a", "local", false, HOUR), 2 * SECOND);
}
END_TEST

START_TEST(test_waiting_counts)
{
    attempt("ann", HOME, false, HOUR);
    ck_assert_int_eq(attempt("ann", HOME, false, HOUR + 1500), 500);
    /* that one failed at 2 s: the next may come 4 s later */
    ck_assert_int_eq(attempt("ann", HOME, false, HOUR + 6 * SECOND), 0);
}
END_TEST

START_TEST(test_forgotten_after_a_quiet_hour)
{
    int64_t now = HOUR;

    for (int i = 0; i < 5; i++)
        now += attempt("ann", HOME, false, now);
    ck_assert_int_gt(attempt("ann", HOME, false, now), 0);
    ck_assert_int_eq(attempt("ann", HOME, false, now + HOUR + 61 * SECOND), 0);
}
END_TEST

/* n attempts at once are looked at one after the other, and no more than a minute's worth. */
START_TEST(test_parallel_attempts_queue)
{
    struct penalty_slot slots[200];
    int64_t wait, last = -1;
    int at_once = 0, refused = 0;

    for (size_t i = 0; i < 200; i++) {
        wait = penalty_admit(p, "ann", AWAY, HOUR, &slots[i]);
        if (wait == 0)
            at_once++;
        else if (wait < 0)
            refused++;
        else
            ck_assert_int_gt(wait, last);
        last = wait > 0 ? wait : last;
    }
    ck_assert_int_eq(at_once, PENALTY_FREE + 1);
    ck_assert_int_gt(refused, 180);
    ck_assert_int_le(last, 60 * SECOND);
}
END_TEST

START_TEST(test_parallel_after_failures)
{
    struct penalty_slot slot;
    int64_t first, second;

    attempt("ann", AWAY, false, HOUR);
    first = penalty_admit(p, "ann", AWAY, HOUR, &slot);
    second = penalty_admit(p, "ann", AWAY, HOUR, &slot);
    ck_assert_int_eq(first, 2 * SECOND);
    ck_assert_int_eq(second, 4 * SECOND);
}
END_TEST

/* A mail client that opens its connections at once isn't slowed down, day after day. */
START_TEST(test_many_connections_of_one_client)
{
    struct penalty_slot slots[10];
    char user[32];

    for (int n = 0; n < 100; n++) {
        snprintf(user, sizeof user, "user%d", n % 50);
        for (size_t i = 0; i < 10; i++)
            ck_assert_int_eq(penalty_admit(p, user, HOME, HOUR + n, &slots[i]), 0);
        for (size_t i = 0; i < 10; i++)
            penalty_result(p, &slots[i], true, HOUR + n);
    }
}
END_TEST

START_TEST(test_success_clears_the_user)
{
    int64_t now = HOUR;

    for (int i = 0; i < 4; i++)
        now += attempt("ann", AWAY, false, now);
    now += attempt("ann", HOME, true, now);
    ck_assert_int_eq(attempt("ann", "203.0.113.1", false, now), 0);
}
END_TEST

START_TEST(test_success_halves_the_network)
{
    int64_t now = HOUR, wait;

    for (int i = 0; i < 4; i++)
        now += attempt("nobody", AWAY, false, now);
    now += attempt("bob", AWAY, true, now); /* 4 failures become 2 */
    now += 60 * SECOND;
    now += attempt("cyd", AWAY, false, now); /* 3: the next waits 8 s */
    wait = attempt("dan", AWAY, false, now);
    ck_assert_int_eq(wait, 8 * SECOND);
}
END_TEST

/* Who has an account can't clear his network's count by logging in between guesses. */
START_TEST(test_only_the_first_success_halves)
{
    int64_t now = HOUR, wait = 0;
    char user[32];

    for (int i = 0; i < 20; i++) {
        snprintf(user, sizeof user, "victim%d", i);
        wait = attempt(user, AWAY, false, now);
        now += wait;
        ck_assert_int_eq(attempt("thief", AWAY, true, now) > 0, i == 0);
    }
    ck_assert_int_eq(wait, 15 * SECOND);
}
END_TEST

/* Strangers' failures, elsewhere or behind the same address, don't slow down who is known
   there; his own do. */
START_TEST(test_known_users_are_left_alone)
{
    int64_t now = HOUR;

    attempt("ann", HOME, true, now);
    for (int i = 0; i < 8; i++)
        now += attempt("ann", AWAY, false, now);
    ck_assert_int_gt(attempt("ann", "203.0.113.1", true, now), 0);
    for (int i = 0; i < 8; i++)
        now += attempt("bob", HOME, false, now);
    ck_assert_int_eq(attempt("ann", HOME, true, now), 0);
    ck_assert_int_eq(attempt("ann", HOME, false, now), 0);
    ck_assert_int_eq(attempt("ann", HOME, false, now), 2 * SECOND);
    ck_assert_int_eq(attempt("ann", HOME, true, now + 2 * SECOND), 4 * SECOND);
    ck_assert_int_eq(attempt("ann", HOME, true, now + 6 * SECOND), 0);
}
END_TEST

START_TEST(test_known_for_a_week)
{
    int64_t now = HOUR;

    attempt("ann", HOME, true, now);
    now += 6 * 24 * HOUR;
    attempt("x", HOME, false, now);
    ck_assert_int_eq(attempt("ann", HOME, true, now), 0);
    now += 8 * 24 * HOUR;
    attempt("x", HOME, false, now);
    ck_assert_int_eq(attempt("ann", HOME, true, now), 2 * SECOND);
}
END_TEST

START_TEST(test_cancelled_attempts_leave_no_trace)
{
    struct penalty_slot slot;

    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(penalty_admit(p, "ann", HOME, HOUR, &slot), 0);
        penalty_cancel(p, &slot, HOUR);
    }
    ck_assert_int_eq(attempt("ann", HOME, false, HOUR), 0);
}
END_TEST

/* Or who hangs up again and again would keep a user out without a single guess. */
START_TEST(test_cancelled_attempts_give_their_time_back)
{
    struct penalty_slot slot, second;

    attempt("ann", HOME, false, HOUR);
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(penalty_admit(p, "ann", HOME, HOUR, &slot), 2 * SECOND);
        penalty_cancel(p, &slot, HOUR);
    }
    /* not the time of those who came later */
    ck_assert_int_eq(penalty_admit(p, "ann", HOME, HOUR, &slot), 2 * SECOND);
    ck_assert_int_eq(penalty_admit(p, "ann", HOME, HOUR, &second), 4 * SECOND);
    penalty_cancel(p, &slot, HOUR);
    ck_assert_int_ge(penalty_admit(p, "ann", HOME, HOUR, &slot), 6 * SECOND);
}
END_TEST

START_TEST(test_no_delay)
{
    struct penalty *none = penalty_new(0);
    struct penalty_slot slot;

    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(penalty_admit(none, "ann", HOME, HOUR, &slot), 0);
        penalty_result(none, &slot, false, HOUR);
    }
    penalty_cancel(none, &slot, HOUR);
    penalty_free(&none);
}
END_TEST

/* A flood of names and networks fills the table and nothing else: what fails then still
   counts. */
START_TEST(test_bounded_memory)
{
    int64_t now = HOUR;
    char user[32], address[32];

    for (int i = 0; i < NOBODYS; i++) {
        snprintf(user, sizeof user, "x%d", i);
        snprintf(address, sizeof address, "10.%d.%d.%d", i >> 16, (i >> 8) & 255, i & 255);
        ck_assert_int_eq(attempt(user, address, i % 2 == 0, now), 0);
    }
    ck_assert_int_eq(attempt("ann", AWAY, false, now), 0);
    ck_assert_int_eq(attempt("ann", AWAY, false, now), 2 * SECOND);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("penalty");
    TCase *t = tcase_create("penalty");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, test_doubles_up_to_a_minute);
    tcase_add_test(t, test_network_up_to_15_seconds);
    tcase_add_test(t, test_v6_network_is_a_64);
    tcase_add_test(t, test_local_has_no_network);
    tcase_add_test(t, test_waiting_counts);
    tcase_add_test(t, test_forgotten_after_a_quiet_hour);
    tcase_add_test(t, test_parallel_attempts_queue);
    tcase_add_test(t, test_parallel_after_failures);
    tcase_add_test(t, test_many_connections_of_one_client);
    tcase_add_test(t, test_success_clears_the_user);
    tcase_add_test(t, test_success_halves_the_network);
    tcase_add_test(t, test_only_the_first_success_halves);
    tcase_add_test(t, test_known_users_are_left_alone);
    tcase_add_test(t, test_known_for_a_week);
    tcase_add_test(t, test_cancelled_attempts_leave_no_trace);
    tcase_add_test(t, test_cancelled_attempts_give_their_time_back);
    tcase_add_test(t, test_no_delay);
    tcase_add_test(t, test_bounded_memory);
    suite_add_tcase(suite, t);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
