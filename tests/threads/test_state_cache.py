"""The cache of encoded states: bounded, and counted as it is held."""

import gc
import sys
import threading

from django.conf import settings

from platform_site.core.telemetry.process_memory import memory_limit
from threads.state_cache import StateCache, key_of, state_cache

STATE = b"s" * 1000


def keys(count: int) -> list[bytes]:
    return [key_of("key", number) for number in range(count)]


def test_what_is_kept_is_found() -> None:
    cache, (one, other) = StateCache(100_000), keys(2)
    cache.put(one, STATE)

    assert (cache.get(one), cache.get(other)) == (STATE, None)
    assert (cache.hits, cache.misses) == (1, 1)


def test_it_holds_no_more_than_its_budget_and_drops_what_was_used_longest_ago() -> None:
    cache, (first, second, *others) = StateCache(20_000), keys(100)
    cache.put(first, STATE)
    cache.put(second, STATE)
    for key in others:
        cache.put(key, STATE)
        assert cache.get(first) == STATE
        assert cache.held_bytes <= cache.budget_bytes

    assert cache.get(second) is None
    assert cache.get(others[-1]) == STATE


def test_what_it_holds_is_counted_with_everything_around_it() -> None:
    cache, [key] = StateCache(100_000), keys(1)
    cache.put(key, STATE)

    # A list entry of an ordered dictionary has four words, a place in its tables some five.
    assert cache.held_bytes >= sys.getsizeof(key) + sys.getsizeof(STATE) + 9 * 8
    assert cache.held_bytes < 2 * len(STATE)


def test_a_state_that_is_kept_again_is_counted_once() -> None:
    cache, [key] = StateCache(100_000), keys(1)
    cache.put(key, STATE)
    held = cache.held_bytes

    cache.put(key, STATE)

    assert (cache.held_bytes, len(cache)) == (held, 1)


def test_one_state_takes_a_part_of_the_budget_at_most() -> None:
    cache, (small, large) = StateCache(20_000), keys(2)
    cache.put(small, STATE)
    cache.put(large, b"s" * 10_000)

    assert (cache.get(small), cache.get(large)) == (STATE, None)


def test_a_cache_without_a_budget_keeps_nothing() -> None:
    cache, [key] = StateCache(0), keys(1)
    cache.put(key, b"")

    assert (cache.get(key), cache.held_bytes) == (None, 0)


def test_clearing_gives_everything_back() -> None:
    cache, [key] = StateCache(100_000), keys(1)
    cache.put(key, STATE)

    cache.clear()

    assert (cache.get(key), cache.held_bytes, len(cache)) == (None, 0, 0)


def test_the_garbage_collector_has_no_object_more_to_look_at() -> None:
    cache = StateCache(1_000_000)
    gc.collect()
    before = len(gc.get_objects())
    for key in keys(500):
        cache.put(key, STATE)
    gc.collect()

    assert len(gc.get_objects()) - before < 50


def test_any_number_of_threads_may_use_it() -> None:
    cache, all_keys = StateCache(50_000), keys(60)

    def use() -> None:
        for number in range(2000):
            key = all_keys[number * 7 % len(all_keys)]
            if cache.get(key) is None:
                cache.put(key, STATE)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert cache.hits + cache.misses == 8000
    left = [key for key in all_keys if cache.get(key) is not None]
    one = StateCache(50_000)
    one.put(all_keys[0], STATE)
    assert cache.held_bytes == len(left) * one.held_bytes <= cache.budget_bytes


def test_keys_tell_their_parts_apart() -> None:
    parts = [("a", "b"), ("ab",), ("a", b"b"), ("a", "b", ()), (("a", "b"),), ("a", 1), ("a", "1"), ("a", True)]
    assert len({key_of(*one) for one in parts}) == len(parts)


def test_the_cache_of_a_process_has_a_small_part_of_the_memory() -> None:
    assert state_cache() is state_cache()
    assert state_cache().budget_bytes == settings.STATE_CACHE_BYTES
    assert 0 < settings.STATE_CACHE_BYTES <= min(64_000_000, memory_limit() // 64)
