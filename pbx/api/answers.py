"""What every answer has in common: JSON, errors in two languages, headers that tie the browser's hands."""

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

import msgspec
import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from pbx.api.exchange import ExchangeError
from pbx.metrics import Metrics
from pbx.storage.plain import plain

__all__ = ["ApiError", "error_middleware", "failure", "json_answer", "read_body", "secure"]

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

TEXTS: Final[Mapping[int, tuple[str, str, str]]] = {
    400: ("bad_request", "请求有误", "The request is wrong"),
    401: ("not_logged_in", "请先登录", "Log in first"),
    403: ("forbidden", "不允许", "Not allowed"),
    404: ("not_found", "没有找到", "There is no such thing"),
    405: ("wrong_method", "不支持此方法", "This method is not supported here"),
    408: ("too_slow", "请求超时", "The request took too long to arrive"),
    409: ("conflict", "当前状态下不能这样做", "That can't be done now"),
    413: ("too_large", "请求过大", "The request is too large"),
    415: ("not_json", "请求内容必须是 JSON", "The request's body must be JSON"),
    416: ("bad_range", "请求的范围不存在", "There is no such range"),
    429: ("too_many", "失败次数过多，请稍候再试", "Too many failures; wait and try again"),
    500: ("fault", "内部错误，已记录", "An internal fault; it has been recorded"),
    503: ("not_ready", "尚未就绪", "Not ready yet"),
}
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class ApiError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, code: str = "", zh: str = "", en: str = "") -> None:
        """Without texts those of the status are used."""
        usual = TEXTS.get(status, TEXTS[400])
        self.status = status
        self.code, self.zh, self.en = code or usual[0], zh or usual[1], en or usual[2]
        self.retry_after: float | None = None
        """Seconds; told as Retry-After (RFC 9110 §10.2.3)."""
        super().__init__(self.en)


def json_answer(value: object, status: int = 200) -> web.Response:
    """Answer with JSON; anything a phone may have put into `value` is made fit."""
    return web.Response(
        status=status, body=msgspec.json.encode(plain(value)), content_type="application/json"
    )


def failure(error: ApiError | ExchangeError) -> web.Response:
    """Answer with an error."""
    response = json_answer({"error": {"code": error.code, "zh": error.zh, "en": error.en}}, error.status)
    if isinstance(error, ApiError) and error.retry_after is not None:
        response.headers[hdrs.RETRY_AFTER] = str(math.ceil(error.retry_after))
    if error.status == 401:  # RFC 9110 §15.5.2: "MUST send a WWW-Authenticate header field"
        response.headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="at110"'
    return response


async def read_body(request: web.Request, kind: type[T]) -> T:
    """Read the JSON body as `kind`. Raises ApiError 400 or 415.

    The content type is required: a form on another site can't send it without asking (CORS).
    """
    if request.content_type != "application/json":
        raise ApiError(415)
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except msgspec.MsgspecError as error:
        raise ApiError(400, "bad_body", f"请求内容有误: {error}", f"The body is wrong: {error}") from error


def secure(response: web.StreamResponse) -> None:
    """Put the security headers on an answer; nothing is cached unless the handler says otherwise."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")


def error_middleware(metrics: Metrics) -> Middleware:
    """Turn every exception into an answer, count it, and secure what leaves."""
    log = structlog.get_logger()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except (ApiError, ExchangeError) as error:
            response = failure(error)
        except web.HTTPException as error:
            response = failure(ApiError(error.status))
            if allow := error.headers.get(hdrs.ALLOW):
                response.headers[hdrs.ALLOW] = allow
        except ConnectionError:
            response = failure(ApiError(400))  # the client is gone; nobody is left to read this
        except Exception:
            log.exception("api_fault", method=request.method, path=request.path)
            response = failure(ApiError(500))
        metrics.http_requests.labels(str(response.status)).inc()
        if not response.prepared:
            secure(response)
        return response

    return middleware
