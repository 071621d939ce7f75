"""The escrow contract and the chains it lives on: the only package that imports web3, eth_account and solcx."""
