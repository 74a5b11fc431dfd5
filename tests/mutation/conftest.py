from tests.support.deployment import gatepost, make_gatepost, prepared_folder

__all__ = ["gatepost", "make_gatepost", "prepared_folder"]
