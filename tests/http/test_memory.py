"""What stays of an exchange after its end: nothing, or the collector would have to find bodies of many MB."""

import asyncio
import gc

from kfunc.http.exchange import Exchange
from kfunc.http.proxy import STREAM_ABOVE, Upload
from tests.http.fakes import post
from tests.http.hops import answers, chain, read_answer, run

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def test_an_upload_that_has_ended_leaves_nothing_to_the_collector() -> None:
    async def test() -> None:
        async with chain(answers(*[OK] * 5)) as made:
            reader, writer = await made.connect()
            gc.collect()
            gc.disable()
            try:
                for _ in range(5):
                    writer.write(post(bytes(STREAM_ABOVE + 1)))
                    assert (await read_answer(reader))[0] == 200
                await asyncio.sleep(0)
                ended = len(made.proxy.ended)
                made.proxy.ended.clear()
                left = [each for each in gc.get_objects() if isinstance(each, Upload | Exchange)]
            finally:
                gc.enable()
            writer.close()
            assert (ended, left) == (5, [])

    run(test())
