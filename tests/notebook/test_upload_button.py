"""Files that arrive in slices: joined as they were, and nothing else is taken for one."""

import pytest

from fxexplore.notebook.feature_maps.upload_button import UploadButton


@pytest.fixture
def upload():
    """A button that keeps what it hands on, and what it answers."""
    files, problems, answers = [], [], []
    upload = UploadButton(lambda *file: files.append(file), problems.append, most_bytes=100)
    upload.send = answers.append
    upload.files, upload.problems, upload.answers = files, problems, answers
    return upload


def slice_of(at, size=6, id="a", **other):  # noqa: A002
    return {"type": "slice", "id": id, "name": "cat.png", "size": size, "at": at, **other}


def send(upload, content, step, id="a"):  # noqa: A002
    for at in range(0, len(content), step):
        message = slice_of(at, len(content), id)
        upload._handle_custom_msg(message, [memoryview(content[at : at + step])])


@pytest.mark.parametrize("step", [1, 7, 63, 64, 100])
def test_slices_are_joined_and_each_is_acknowledged(upload, step):
    content = bytes(range(64))
    send(upload, content, step)
    assert upload.files == [("cat.png", content)]
    received = [answer["received"] for answer in upload.answers[:-1]]
    assert received == [min(at + step, 64) for at in range(0, 64, step)]
    assert upload.answers[-1] == {"id": "a", "done": True}


def test_a_newer_file_takes_the_place_of_one_on_its_way(upload):
    upload.take(slice_of(0), [b"old"])
    upload.take(slice_of(0, id="b"), [b"new"])
    upload.answers.clear()
    upload.take(slice_of(3), [b"old"])
    assert upload.answers == [{"id": "a", "done": True}]
    upload.take(slice_of(3, id="b"), [b"est"])
    assert upload.files == [("cat.png", b"newest")]
    assert upload.problems == []


def test_what_was_cancelled_is_forgotten_and_what_was_not_goes_on(upload):
    upload.take(slice_of(0), [b"abc"])
    upload.take({"type": "cancel", "id": "another"}, [])
    upload.take(slice_of(3), [b"de"])
    upload.take({"type": "cancel", "id": "a"}, [])
    upload.take(slice_of(5), [b"f"])
    assert upload.files == upload.problems == []
    send(upload, b"abcdef", 3)
    assert upload.files == [("cat.png", b"abcdef")]


@pytest.mark.parametrize(
    ("message", "buffers", "words"),
    [
        (slice_of(2), [b"c"], "1 bytes at 2 of 6 came after 3"),
        (slice_of(4), [b"ef"], "2 bytes at 4 of 6 came after 3"),
        (slice_of(3), [b"defg"], "4 bytes at 3 of 6 came after 3"),
    ],
)
def test_messages_that_do_not_fit_are_told_and_the_next_file_arrives(
    upload, message, buffers, words
):
    upload.take(slice_of(0), [b"abc"])
    upload.take(message, buffers)
    assert [words in str(problem) for problem in upload.problems] == [True]
    assert upload.answers[-1]["done"]
    assert upload.files == []
    send(upload, b"abcdef", 4)
    assert upload.files == [("cat.png", b"abcdef")]
