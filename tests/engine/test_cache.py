from __future__ import annotations

from threading import Thread

from sightline.engine.cache import AnswerCache


def test_an_answer_comes_back_under_its_key() -> None:
    cache = AnswerCache(10_000)
    key = cache.key(b"picture", "model@1 sha256:1", "top_k=3")

    assert cache.get(key) is None
    cache.put(key, b"answer", 6)

    assert cache.get(key) == b"answer"


def test_a_key_tells_apart_where_its_parts_end_and_which_model_answers() -> None:
    keys = {
        AnswerCache.key("ab", "c"),
        AnswerCache.key("a", "bc"),
        AnswerCache.key("abc"),
        AnswerCache.key("abc", ""),
        AnswerCache.key(b"picture", "model@1 sha256:1"),
        AnswerCache.key(b"picture", "model@2 sha256:1"),
        AnswerCache.key(b"picture", "model@1 sha256:2"),
    }

    assert len(keys) == 7


def test_the_answer_that_was_unused_longest_is_forgotten_first() -> None:
    cache = AnswerCache(3 * 1300)
    for name in "abc":
        cache.put(cache.key(name), name, 1000)
    cache.get(cache.key("a"))

    cache.put(cache.key("d"), "d", 1000)

    assert [cache.get(cache.key(name)) for name in "abcd"] == ["a", None, "c", "d"]


def test_memory_stays_below_the_limit_and_is_counted_right_when_an_answer_is_replaced() -> None:
    cache = AnswerCache(50_000)
    for number in range(500):
        cache.put(cache.key(str(number % 70)), number, number * 3)

        assert cache.num_bytes <= 50_000
    for number in range(70):
        cache.put(cache.key(str(number)), number, 100_000)  # too large: takes the old one's place with nothing

    assert (len(cache), cache.num_bytes) == (0, 0)


def test_a_cache_of_no_bytes_keeps_nothing() -> None:
    cache = AnswerCache(0)
    cache.put(cache.key("a"), b"", 0)

    assert not cache
    assert cache.get(cache.key("a")) is None


def test_threads_may_share_it() -> None:
    cache = AnswerCache(20_000)
    wrong: list[object] = []

    def work(start: int) -> None:
        for number in range(start, start + 2000):
            key = cache.key(str(number % 97))
            found = cache.get(key)
            if found not in (None, number % 97):
                wrong.append(found)
            cache.put(key, number % 97, 100)

    threads = [Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong
    assert 0 < cache.num_bytes <= 20_000
