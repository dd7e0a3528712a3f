/*
 * The spare policy (pool.h) and the exit code policy (throttle.h): tables.
 */
#include <check.h>
#include <stdlib.h>

#include "proc/pool.h"
#include "proc/throttle.h"

static const struct conf_pool band = {.min_spare = 5, .max_spare = 20, .max_workers = 100};

static struct pool_decision
decide(unsigned idle, unsigned busy, unsigned starting, struct pool_state *state, int tick)
{
    struct pool_counts counts = {.idle = idle, .busy = busy, .starting = starting};

    return pool_decide(&band, &counts, state, tick);
}

/* One decision from a fresh state, with growth as given. */
static const struct row {
    unsigned idle, busy, starting, growth;
    int tick;
    unsigned fork, retire, growth_after;
} rows[] = {
    /* inside the band nothing happens */
    {5, 0, 0, 0, 1, 0, 0, 0},
    {20, 40, 0, 0, 1, 0, 0, 0},
    {3, 0, 2, 0, 1, 0, 0, 0},
    /* starved: 1, 2, 4 .. 32 at each tick, and growth ends with the hunger */
    {4, 10, 0, 0, 1, 1, 0, 1},
    {4, 10, 0, 1, 1, 2, 0, 2},
    {4, 10, 0, 2, 1, 4, 0, 4},
    {4, 10, 0, 4, 1, 8, 0, 8},
    {5, 10, 0, 8, 1, 0, 0, 0},
    /* while some wait, not beyond max_spare, which would only be retired */
    {4, 10, 0, 16, 1, 16, 0, 32},
    {2, 10, 2, 32, 1, 16, 0, 32},
    /* while some wait, only at the tick */
    {1, 10, 0, 0, 0, 0, 0, 0},
    {0, 10, 1, 4, 0, 0, 0, 4},
    /* nobody waits: at once, doubling, up to 32 */
    {0, 5, 0, 0, 0, 1, 0, 1},
    {0, 5, 0, 16, 0, 32, 0, 32},
    {0, 5, 0, 32, 0, 32, 0, 32},
    {0, 5, 0, 32, 1, 32, 0, 32},
    /* never over max_workers */
    {0, 98, 0, 32, 0, 2, 0, 32},
    {0, 100, 0, 8, 0, 0, 0, 8},
    {0, 120, 0, 8, 1, 0, 0, 8},
    {1, 99, 0, 8, 1, 0, 0, 8},
    {2, 97, 0, 8, 1, 1, 0, 16},
    /* one, and an eighth of what is too much, is retired a second, and only at the tick */
    {21, 0, 0, 0, 1, 0, 1, 0},
    {27, 0, 0, 0, 1, 0, 1, 0},
    {28, 0, 0, 0, 1, 0, 2, 0},
    {90, 0, 0, 0, 1, 0, 9, 0},
    {90, 0, 0, 0, 0, 0, 0, 0},
    /* starting ones aren't retired */
    {19, 0, 4, 0, 1, 0, 0, 0},
};

START_TEST(test_decisions)
{
    const struct row *r = &rows[_i];
    struct pool_state state = {.growth = r->growth};
    struct pool_decision d = decide(r->idle, r->busy, r->starting, &state, r->tick);

    ck_assert_uint_eq(d.fork, r->fork);
    ck_assert_uint_eq(d.retire, r->retire);
    ck_assert_uint_eq(state.growth, r->growth_after);
}
END_TEST

/* A hundred clients come back after a reboot: every worker that is forked is busy at once. */
START_TEST(test_storm_needs_few_rounds)
{
    struct pool_state state = {.growth = 0};
    unsigned busy = 5, rounds = 0;

    while (busy < 100) {
        struct pool_decision d = decide(0, busy, 0, &state, 0);

        ck_assert_uint_gt(d.fork, 0);
        ck_assert_uint_le(d.fork, 32);
        busy += d.fork;
        ck_assert_uint_lt(++rounds, 10);
    }
    ck_assert_uint_eq(busy, 100);
    ck_assert_uint_eq(decide(0, busy, 0, &state, 0).fork, 0);
}
END_TEST

/* For every count the totals stay inside the limits. */
START_TEST(test_limits_hold_everywhere)
{
    for (unsigned idle = 0; idle <= 30; idle++)
        for (unsigned busy = 0; busy <= 110; busy += 5)
            for (unsigned growth = 0; growth <= 32; growth = growth == 0 ? 1 : growth * 2)
                for (int tick = 0; tick <= 1; tick++) {
                    struct pool_state state = {.growth = growth};
                    struct pool_decision d = decide(idle, busy, 0, &state, tick);

                    ck_assert(d.fork == 0 || idle + busy + d.fork <= band.max_workers);
                    ck_assert(d.fork == 0 || d.retire == 0);
                    ck_assert(d.retire == 0 || idle - d.retire >= band.max_spare);
                    ck_assert_uint_le(d.fork, 32);
                    ck_assert(d.retire == 0 || idle > band.max_spare);
                    ck_assert(idle < band.min_spare || d.fork == 0);
                }
}
END_TEST

#define EXITED(code) ((code) << 8) /* wait status of exit(code) */
#define KILLED(sig)  (sig)

START_TEST(test_exit_0_is_normal)
{
    struct throttle t = {.worked = false};

    ck_assert_int_eq(throttle_died(&t, EXITED(0), 1000), THROTTLE_NORMAL);
    ck_assert(throttle_open(&t, 1000));
}
END_TEST

START_TEST(test_exit_78_stops_until_reload)
{
    struct throttle t = {.worked = true};

    ck_assert_int_eq(throttle_died(&t, EXITED(78), 1000), THROTTLE_STOP);
    ck_assert(!throttle_open(&t, INT64_MAX));
    throttle_reset(&t);
    ck_assert(throttle_open(&t, 0));
}
END_TEST

START_TEST(test_exit_75_backs_off)
{
    struct throttle t = {.worked = true};

    ck_assert_int_eq(throttle_died(&t, EXITED(75), 1000), THROTTLE_RESOURCES);
    ck_assert(!throttle_open(&t, 2999));
    ck_assert(throttle_open(&t, 3000));
}
END_TEST

/* 2 s, doubled up to 60 s. */
START_TEST(test_crash_before_work_doubles)
{
    static const unsigned seconds[] = {2, 4, 8, 16, 32, 60, 60};
    struct throttle t = {.worked = false};
    int64_t now = 5000;

    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        ck_assert_int_eq(throttle_died(&t, KILLED(11), now), THROTTLE_WAIT);
        ck_assert_uint_eq(t.delay_s, seconds[i]);
        ck_assert(!throttle_open(&t, now + seconds[i] * 1000 - 1));
        now += seconds[i] * 1000;
        ck_assert(throttle_open(&t, now));
    }
    throttle_worked(&t);
    ck_assert_uint_eq(t.delay_s, 0);
}
END_TEST

/* Several children that die of the same cause together count once. */
START_TEST(test_one_wait_for_many)
{
    struct throttle t = {.worked = false};

    for (int i = 0; i < 5; i++)
        throttle_died(&t, EXITED(1), 1000 + i);
    ck_assert_uint_eq(t.delay_s, 2);
    ck_assert(throttle_open(&t, 3000));
}
END_TEST

/* Who can crash his own session must not stop everybody's. */
START_TEST(test_crash_after_work_has_no_wait)
{
    struct throttle t = {.worked = false};

    throttle_worked(&t);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(throttle_died(&t, KILLED(11), i), THROTTLE_CRASH);
        ck_assert(throttle_open(&t, i));
    }
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("pool");
    TCase *pool = tcase_create("pool_decide"), *throttle = tcase_create("throttle");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(pool, test_decisions, 0, sizeof rows / sizeof rows[0]);
    tcase_add_test(pool, test_storm_needs_few_rounds);
    tcase_add_test(pool, test_limits_hold_everywhere);
    tcase_add_test(throttle, test_exit_0_is_normal);
    tcase_add_test(throttle, test_exit_78_stops_until_reload);
    tcase_add_test(throttle, test_exit_75_backs_off);
    tcase_add_test(throttle, test_crash_before_work_doubles);
    tcase_add_test(throttle, test_one_wait_for_many);
    tcase_add_test(throttle, test_crash_after_work_has_no_wait);
    suite_add_tcase(s, pool);
    suite_add_tcase(s, throttle);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
