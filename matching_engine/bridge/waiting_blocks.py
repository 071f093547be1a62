"""The blocks that wait, by their ids as the state has them, and by account."""

from matching_engine.rules.state import Block


class WaitingBlocks(dict[int, Block]):
    """A dictionary that also finds what an account has in it."""

    def __init__(self, blocks: dict[int, Block]):
        super().__init__()
        self.accounts: dict[str, dict[int, Block]] = {}
        for block_id, block in blocks.items():
            self[block_id] = block

    def __setitem__(self, block_id: int, block: Block) -> None:
        super().__setitem__(block_id, block)
        self.accounts.setdefault(block.account, {})[block_id] = block

    def pop(self, block_id: int, otherwise: Block | None = None) -> Block | None:
        block = super().pop(block_id, otherwise)
        if block is not None:
            self.accounts[block.account].pop(block_id, None)
            if not self.accounts[block.account]:
                del self.accounts[block.account]
        return block

    def of_account(self, account: str) -> list[Block]:
        """The account's blocks, oldest first."""
        return [block for _, block in sorted(self.accounts.get(account, {}).items())]
