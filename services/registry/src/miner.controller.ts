import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Put, Query, Req } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiTags } from '@nestjs/swagger';
import {
  MinerAccountQuery,
  MinerRegistration,
  type MinerDetails,
  type MinerList,
  type MinerView,
  type RegistryIdentity,
} from '@studio/shared/contract/miners';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import { validated } from '@studio/shared/contract/validated';
import { StudioError } from '@studio/shared/domain/errors';
import { MinerAccounts } from './miner-account';
import { MinerStore } from './miner.store';
import { requireOffers } from './registration';
import { isSigned, RequestSignatures, requireWithdrawal, type SignedRequest } from './request-signature';
import { HINT, IDENTITY, type Hint } from './tokens';

/** Miners come and go by their own signature; everybody may see who is there, each miner also its own account. */
@ApiTags('miners')
@Controller('v1')
export class MinerController {
  constructor(
    private readonly miners: MinerStore,
    private readonly accounts: MinerAccounts,
    private readonly signatures: RequestSignatures,
    @Inject(IDENTITY) private readonly identity: string,
    @Inject(HINT) private readonly hint: Hint,
  ) {}

  @Get('identity')
  @ApiOperation({ summary: 'The hotkey that requests to the registry are signed for' })
  who(): RegistryIdentity {
    return { hotkey: this.identity };
  }

  @Put('miners/:hotkey')
  @ApiOperation({ summary: 'Register, change or renew a miner; signed by its hotkey (native form or Epistula)' })
  @ApiBody({ type: MinerRegistration })
  async register(
    @Param('hotkey') hotkey: string,
    @Body() body: unknown,
    @Req() request: SignedRequest,
  ): Promise<MinerView> {
    const signer = await this.signatures.requireSigner(request, hotkey);
    // Not by the pipe: a stranger's body is worth no work before its signature is.
    const registration = validated(MinerRegistration, body);
    requireOffers(registration);
    const miner = await this.miners.register(signer, registration);
    this.hint(SUBJECTS.minersChanged.subject);
    return miner;
  }

  @Delete('miners/:hotkey')
  @HttpCode(204)
  @ApiOperation({ summary: 'Withdraw a miner; signed by its hotkey. Its scores stay' })
  async withdraw(@Param('hotkey') hotkey: string, @Body() body: unknown, @Req() request: SignedRequest): Promise<void> {
    const signer = await this.signatures.requireSigner(request, hotkey);
    requireWithdrawal(signer.form, hotkey, body);
    await this.miners.withdraw(signer);
    this.hint(SUBJECTS.minersChanged.subject);
  }

  @Get('miners')
  @ApiOperation({ summary: 'Miners that take part now' })
  async list(): Promise<MinerList> {
    return { miners: await this.miners.active() };
  }

  @Get('miners/:hotkey')
  @ApiOperation({ summary: 'One miner, withdrawn ones too; signed by its own hotkey also its account' })
  async one(
    @Param('hotkey') hotkey: string,
    @Query() { limit }: MinerAccountQuery,
    @Req() request: SignedRequest,
  ): Promise<MinerDetails> {
    const miner = await this.miners.find(hotkey);
    // First, so that hotkeys made up by the thousand cost neither the curve nor a stored nonce.
    if (!miner) throw new StudioError('NOT_FOUND', `no miner ${hotkey} is registered`);
    const signer = isSigned(request) ? await this.signatures.requireSigner(request, hotkey) : null;
    if (signer) await this.miners.useNonce(signer);
    return signer ? { ...miner, account: await this.accounts.of(miner, limit) } : miner;
  }
}
