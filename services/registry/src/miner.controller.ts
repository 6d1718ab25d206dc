import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Put, Query, Req } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiTags } from '@nestjs/swagger';
import { AppealFiling, type AppealReply } from '@studio/shared/contract/appeals';
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
import { AppealStore } from './appeal.store';
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
    private readonly appeals: AppealStore,
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

  @Post('miners/:hotkey/appeals')
  @HttpCode(202)
  @ApiOperation({
    summary: 'Object to an invalid verdict of a closed epoch; signed by its hotkey. The audit is done again',
  })
  @ApiBody({ type: AppealFiling })
  async appeal(
    @Param('hotkey') hotkey: string,
    @Body() body: unknown,
    @Req() request: SignedRequest,
  ): Promise<AppealReply> {
    await this.requireKnown(hotkey);
    const signer = await this.signatures.requireSigner(request, hotkey);
    const appeal = await this.appeals.file(signer, validated(AppealFiling, body));
    this.hint(SUBJECTS.appealFiled.subject);
    return appeal;
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
    const miner = await this.requireKnown(hotkey);
    const signer = isSigned(request) ? await this.signatures.requireSigner(request, hotkey) : null;
    if (signer) await this.miners.useNonce(signer);
    return signer ? { ...miner, account: await this.accounts.of(miner, limit) } : miner;
  }

  /** Comes first, so that hotkeys made up by the thousand cost neither the curve nor a stored nonce. */
  private async requireKnown(hotkey: string): Promise<MinerView> {
    const miner = await this.miners.find(hotkey);
    if (!miner) throw new StudioError('NOT_FOUND', `no miner ${hotkey} is registered`);
    return miner;
  }
}
