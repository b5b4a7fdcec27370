"""What `hub init` writes of five servers with long names: directory, node and ferry hold it."""

import tomllib

from broker.carry.place import FerryConfig
from broker.cli.admin.node_place import NodeConfig
from broker.hub.clusterserver import ClusterServer
from broker.hub.settings import HubConfig
from keys.directory.toml_text import hub_toml, toml
from schemas.directory import MAX_SERVER_URLS, HubDocument, parse_toml_document
from tests.support.region import make_region

LABEL = "h" * 60
HOST = ".".join([LABEL] * 4)[:252]
SERVERS = tuple(
    ClusterServer(name=f"s{number}", host=f"{number}{HOST}", port=65535) for number in range(5)
)


def test_five_servers_with_the_longest_names_fit_everywhere() -> None:
    urls = HubConfig(cluster=SERVERS).public_url
    assert len(HOST) > 240
    assert len(urls) > MAX_SERVER_URLS - 60
    document = make_region(("SG",)).view.hub.model_copy(update={"server_url": urls})
    read = parse_toml_document(HubDocument, hub_toml(document))
    assert read.server_url == urls
    node = NodeConfig.model_validate(
        tomllib.loads(toml(NodeConfig(member="SG", hub_url=urls).model_dump(mode="json")).decode())
    )
    ferry = FerryConfig(member="SG", hub_url=urls, jwt="", expires=0)
    assert node.hub_url == ferry.hub_url == urls
