"""registry.yaml: valid entries, and the error message of every mistake."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from parcels import County, load_registry
from parcels.errors import RegistryError

ROOT = Path(__file__).parents[2]
URL = "https://gis.example.gov/arcgis/rest/services/P/MapServer"
LAYER = f"url: {URL}, layer: 0"


LAUGHS = "counties:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


def write(folder: Path, text: str) -> Path:
    file = folder / "registry.yaml"
    file.write_text(text)
    return file


def entry(folder: Path, text: str) -> County:
    return load_registry(write(folder, f"counties:\n  here: {{{text}}}\n")).county("here")


def test_the_shipped_registry_has_sample_shelby_and_tennessee() -> None:
    registry = load_registry()
    assert registry.path == ROOT / "registry.yaml"
    assert set(registry) == {"sample", "shelby", "statewide-tn"}
    shelby, sample = registry["shelby"], registry["sample"]
    assert (shelby.fips, shelby.state, shelby.fields.parcel_id) == ("47157", "TN", "PARCELID")
    assert [layer.url.rsplit("/", 2)[1] for layer in shelby.layers] == [
        "CERT_Parcel",
        "CERT_Parcel",
        "CERTParcel",
        "Assessor",
    ]
    assert shelby.legacy_tls == ("scgis.shelbycountytn.gov",)
    assert shelby.fields.street == ("PAR_ADRPREDIR", "PAR_ADRSTR", "PAR_ADRSUF")
    assert sample.synthetic is not None
    assert (sample.synthetic.seed, sample.synthetic.lots) == (2026, 200)
    assert "synthetic" in sample.name


def test_url_and_layer_are_enough(tmp_path: Path) -> None:
    county = entry(tmp_path, f"url: {URL}/, layer: 3")
    assert (county.url, county.layer, county.source) == (URL, 3, "arcgis")
    assert county.name == "here"


def test_paths_are_relative_to_the_registry_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    county = entry(tmp_path, "path: a/lots.gpkg, properties: ../c.csv")
    assert county.source == "file"
    assert county.path == tmp_path / "a/lots.gpkg"
    assert county.properties == tmp_path.parent / "c.csv", "one name for each file"
    monkeypatch.chdir(tmp_path)
    assert load_registry("registry.yaml").county("here").path == tmp_path / "a/lots.gpkg"


def test_a_way_through_a_link_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    county = entry(tmp_path, "path: link/../lots.gpkg")
    assert county.path == tmp_path / "link/../lots.gpkg", "which is far/lots.gpkg"


def test_an_unquoted_fips_code_becomes_text(tmp_path: Path) -> None:
    assert entry(tmp_path, "path: x, fips: 47157").fips == "47157"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"url: {URL}, layr: 0", "'layr' is not a key; did you mean 'layer'?"),
        ("path: x, colour: 1", "'colour' is not a key; the keys are allow_private, alternates"),
        ("path: x, fields: {parcelid: A}", "'fields.parcelid' is not a key; did you mean 'parcel"),
        ("path: x, key: y", "'key' is not a key"),
        (f"url: {URL}", "'layer' is missing; write the layer's number, for example layer: 0"),
        ("layer: 0", "'url' is missing; write 'url' and 'layer', or 'path'"),
        ("name: x", "has no parcels; write 'url' and 'layer', or 'path'"),
        (f"url: {URL}, layer: 0, path: x", "has both 'url' and 'path'; keep one of them"),
        ("path: x, layer: -1", "'layer': '-1' is wrong; write the layer's number"),
        (
            f"path: x, alternates: [{{{LAYER}}}]",
            "'alternates' goes with 'url', not with 'path'; remove it",
        ),
        ("path: x, encoding: nonsense", "'encoding': 'nonsense' is not a text encoding"),
        (f"{LAYER}, encoding: utf-8", "'encoding' goes with 'path'; remove it"),
        (f"url: {URL}, layer: zero", "'layer': 'zero' is wrong; write the layer's number"),
        (f"url: {URL}/0", f"'url': ends with a layer number; write url: {URL} and layer: 0"),
        ("url: 'https://gis.gov/x', layer: 0", "'url': must end with /MapServer or /FeatureServer"),
        (f"url: '{URL}?f=json', layer: 0", "'url': must end after /MapServer or /FeatureServer"),
        (
            "url: 'file:///x/MapServer', layer: 0",
            "'url': 'file:///x/MapServer' is not a web address",
        ),
        ("path: /vsicurl/x", "'path': '/vsicurl/x' is not a local file"),
        ("path: x, fips: 06037", "'fips': write it in quotes"),
        ("path: x, state: Tennessee", "'state': 'Tennessee' is wrong; write two capital letters"),
        ("path: x, crs: EPSG:0", "'crs': 'EPSG:0' is not a valid CRS; write for example EPSG:2274"),
        ("path: x, extent: [1, 2, 0, 3]", "'extent': write [west, south, east, north] in degrees"),
        ("path: x, extent: [-170, 2, 170, 1]", "'extent': write [west, south, east, north]"),
        ("path: x, extent: [1, 2]", "'extent': write [west, south, east, north] in degrees"),
        ("synthetic: {lots: 3}", "'synthetic.lots': 3 is wrong"),
        ("synthetic: {lots: 20001}", "'synthetic.lots': 20001 is wrong"),
        (f"url: {URL}, layer: 0, alternates: [{{url: {URL}}}]", "'alternates[0].layer' is missing"),
        (f"{LAYER}, headers: {{Host: x}}", "'headers': 'Host' is set by the HTTP client"),
        (f"{LAYER}, headers: {{Cookie: x}}", "'headers': 'Cookie' is a secret; remove it and"),
        (f'{LAYER}, headers: {{X: "a\\r\\nb"}}', "'headers': 'X' has a value that is not valid"),
        (f"{LAYER}, headers: {{a b: x}}", "'headers': 'a b' is not a valid header name"),
        (f"{LAYER}, headers: [Referer]", "'headers': a list is wrong; write the headers as"),
        (f"{LAYER}, legacy_tls: ['https://x']", "'legacy_tls': 'https://x' is not a host name"),
        (f"{LAYER}, legacy_tls: [x.gov]", "'legacy_tls': no URL of the entry has the hos"),
        (
            f"{LAYER}, legacy_tls: gis.example.gov",
            "'legacy_tls': 'gis.example.gov' is wrong; write",
        ),
        (f"{LAYER}, token: {{env: 's3cret!'}}", "'token.env': write the name of an environment va"),
        (f"{LAYER}, token: {{enf: A}}", "'token.enf' is not a key; did you mean 'env'?"),
        (f"{LAYER}, token: {{}}", "'token': write either 'env', or 'url', 'username_env' and"),
        (
            f"{LAYER}, token: {{url: 'http://h/t', username_env: A, password_env: B}}",
            "'token.url' receives a password; write a URL that starts with https://",
        ),
        (
            f"{LAYER}, token: {{url: 'ftp://h/t', username_env: A, password_env: B}}",
            "'token.url': 'ftp://h/t' is not a web address; write one that starts with https://",
        ),
        (f"{LAYER}, calls_in_flight: 0", "'calls_in_flight': 0 is wrong; write a whole number"),
        (f"{LAYER}, calls_per_second: .nan", "'calls_per_second': nan is wrong; write a number"),
        (f"{LAYER}, geocode_server: 'https://h/x'", "'geocode_server': must end with /GeocodeSer"),
        (f"{LAYER}, census: maybe", "'census': 'maybe' is wrong; write true or false"),
        (f"{LAYER}, verified: soon", "'verified': 'soon' is wrong; write a date"),
        ("path: x, headers: {Referer: a}", "'headers' goes with 'url'; remove it"),
        ("url: 'https://me:pw@h/MapServer', layer: 0", "'url': contains a user name or a password"),
        (
            "url: 'http://h/a b/MapServer', layer: 0",
            "'url': 'http://h/a b/MapServer' is not a web ad",
        ),
        (
            "url: 'http://[::1/MapServer', layer: 0",
            "'url': 'http://[::1/MapServer' is not a web ad",
        ),
        ('path: "a\\0b"', "'path': 'a\\x00b' is not a valid path; remove the NUL"),
    ],
)
def test_an_error_names_file_county_key_and_fix(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RegistryError) as caught:
        entry(tmp_path, text)
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path / 'registry.yaml'}: county 'here': {message}")


def test_every_mistake_is_reported_on_its_own_line(tmp_path: Path) -> None:
    file = write(tmp_path, "counties:\n  a: {path: x, fips: no}\n  b:\n  c: {path: y}\n")
    with pytest.raises(RegistryError) as caught:
        load_registry(file)
    a, b = str(caught.value).splitlines()
    assert "county 'a': 'fips'" in a
    assert "county 'b': is not an entry; write 'url' and 'layer', or 'path', under it" in b


@pytest.mark.parametrize("key", ["../../x", "a;rm", "Shelby", "-x", "a b", '"a\\n"', '""'])
def test_an_invalid_county_key_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(RegistryError, match="write the county's name with a-z"):
        load_registry(write(tmp_path, f"counties:\n  {key}: {{path: x}}\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "counties:\n  ? [a, b]\n  : {path: x}\n",
            "line 2: not valid YAML: a list or a mapping cannot",
        ),
        (
            "counties:\n  ? {a: b}\n  : {path: x}\n",
            "line 2: not valid YAML: a list or a mapping cannot",
        ),
        ("counties: " + "[" * 100_000, "is nested too deeply"),
        ("counties: " + "{a: " * 100_000, "is nested too deeply"),
        ("".join(" " * n + "a:\n" for n in range(1_000)), "is nested too deeply"),
        ("counties: &a\n  b: *a\n", "is nested too deeply"),
        (LAUGHS, "its aliases expand to more than 1,000,000 values; write the"),
        ("counties:\n  a: {path: x\n  b: [", "line 3: not valid YAML"),
        ("counties:\n  a: {path: x}\n  a: {path: y}\n", "line 3: not valid YAML: 'a' is a duplica"),
        ("counties:\n  a: {path: x, path: y}\n", "line 2: not valid YAML: 'path' is a duplicate"),
        ("", "'counties:' is missing"),
        ("- a", "'counties:' is missing"),
        ("counties: {}\ncounty: {}", "'county' is not a key; the only key is 'counties'"),
        ("counties: [a]", "'counties' must map a name to an entry"),
        ("counties: {a: !!python/object/apply:os.getcwd []}", "line 1: not valid YAML"),
    ],
)
def test_invalid_registry_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(RegistryError) as caught:
        load_registry(file)
    assert str(caught.value).startswith(f"{file}: {message}")


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no such file"):
        load_registry(tmp_path / "no.yaml")
    with pytest.raises(RegistryError, match="cannot be read"):
        load_registry(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"counties: {a: {path: \xe9}}")
    with pytest.raises(RegistryError, match="cannot be read as UTF-8"):
        load_registry(tmp_path / "latin.yaml")
    with pytest.raises(RegistryError, match=r"cannot be read: .*no NUL byte"):
        load_registry("a\0b")
    with (tmp_path / "huge.yaml").open("wb") as huge:
        huge.truncate(17 * 2**20)
    with pytest.raises(RegistryError, match="is longer than 16 MiB; check that it is a registry"):
        load_registry(tmp_path / "huge.yaml")


def test_keys_of_arcgis_servers(tmp_path: Path) -> None:
    county = entry(
        tmp_path,
        f"{LAYER}, headers: {{Referer: 'https://maps.example.gov/'}}, "
        "token: {env: COUNTY_TOKEN}, "
        "legacy_tls: [GIS.example.gov], calls_in_flight: 1, calls_per_second: 0.5, "
        "geocode_server: https://gis.example.gov/g/GeocodeServer, census: false, "
        "verified: 2026-05-31",
    )
    assert county.headers == {"Referer": "https://maps.example.gov/"}
    assert county.token is not None
    assert county.token.env == "COUNTY_TOKEN"
    assert county.legacy_tls == ("gis.example.gov",)
    assert (county.calls_in_flight, county.calls_per_second) == (1, 0.5)
    assert county.geocode_server == "https://gis.example.gov/g/GeocodeServer"
    assert not county.census
    assert county.verified == date(2026, 5, 31)


def test_http_token_urls_need_allow_private(tmp_path: Path) -> None:
    token = "token: {url: 'http://10.0.0.1/tokens/', username_env: A, password_env: B}"
    made = entry(tmp_path, f"{LAYER}, {token}, allow_private: true").token
    assert made is not None
    assert made.url == "http://10.0.0.1/tokens"


def test_a_long_value_is_cut_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(RegistryError) as caught:
        entry(tmp_path, f"path: x, state: {'T' * 5_000}")
    assert len(str(caught.value)) < 300


def test_an_unknown_county_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(RegistryError) as caught:
        load_registry().county("Shelbyy")
    assert "no county 'Shelbyy'; did you mean 'shelby' or " in str(caught.value)
    assert "The counties are: sample, shelby, statewide-tn, and 1," in str(caught.value)
    with pytest.raises(RegistryError, match=r"no county 'nowhere'\. The counties are: none yet"):
        load_registry(write(tmp_path, "counties:\n")).county("nowhere")


def test_yaml_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    text = f"""
counties:
  a: &base {{url: {URL}, layer: 0}}
  b: {{<<: *base, layer: 1}}
"""
    assert load_registry(write(tmp_path, text)).county("b").layer == 1


def test_the_registry_of_the_real_neighbourhoods_loads(real_registry: Path) -> None:
    registry = load_registry(real_registry)
    assert set(registry) == {"claremont", "long_beach", "riverside"}
    for county in registry.values():
        assert county.path is not None
        assert county.path.exists()
        assert county.properties is not None
        assert county.properties.exists()
