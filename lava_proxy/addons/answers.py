"""Answers of our own as mitmproxy's responses."""

from mitmproxy.http import Headers, Response

from lava_proxy.http1.answers import Answer


def response_of(answer: Answer) -> Response:
    response = Response.make(answer.status, answer.body)
    response.headers = Headers(answer.fields)
    return response
