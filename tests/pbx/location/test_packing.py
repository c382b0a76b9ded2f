from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack

from pbx.location.civic import Civic
from pbx.location.header import Said
from pbx.location.packing import pack, unpack
from pbx.location.pidf import Located
from pbx.location.trail import Trail
from routing.shapes import ArcBand, Circle, Ellipse, Point, Polygon

places = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
numbers = st.floats(0, 1e6)
shapes = st.one_of(
    st.none(),
    st.builds(Point, places),
    st.builds(Circle, places, numbers),
    st.builds(Ellipse, places, numbers, numbers, numbers),
    st.builds(ArcBand, places, numbers, numbers, numbers, numbers),
    st.builds(Polygon, st.lists(places, min_size=3, max_size=5).map(tuple)),
)
texts = st.none() | st.text(max_size=10)
civics = st.none() | st.builds(
    Civic, st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), max_size=3).map(tuple), texts
)
located = st.builds(
    Located, shapes, civics, st.none() | numbers, texts, texts, texts, st.none() | numbers, texts
)


@given(st.lists(located, max_size=5))
def test_there_and_back(found: list[Located]) -> None:
    trail = Trail()
    trail.add([Said("cid:x", "net.example", tuple(found))], via="INVITE", trunk="carrier")
    assert unpack(msgpack.decode(msgpack.encode(pack(trail)))) == trail
