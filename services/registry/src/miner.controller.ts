import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Put, Req } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import {
  MinerRegistration,
  type MinerList,
  type MinerView,
  type RegistryIdentity,
} from '@studio/shared/contract/miners';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import { StudioError } from '@studio/shared/domain/errors';
import { MinerStore } from './miner.store';
import { requireOffers } from './registration';
import { requireSigner, type SignedRequest } from './request-signature';
import { HINT, IDENTITY, type Hint } from './tokens';

/** Miners come and go by their own signature; everybody may see who is there. */
@ApiTags('miners')
@Controller('v1')
export class MinerController {
  constructor(
    private readonly miners: MinerStore,
    @Inject(IDENTITY) private readonly identity: string,
    @Inject(HINT) private readonly hint: Hint,
  ) {}

  @Get('identity')
  @ApiOperation({ summary: 'The hotkey that requests to the registry are signed for' })
  who(): RegistryIdentity {
    return { hotkey: this.identity };
  }

  @Put('miners/:hotkey')
  @ApiOperation({ summary: 'Register, change or renew a miner; signed by its hotkey' })
  async register(
    @Param('hotkey') hotkey: string,
    @Body() registration: MinerRegistration,
    @Req() request: SignedRequest,
  ): Promise<MinerView> {
    const signer = requireSigner(request, hotkey, this.identity, await this.miners.nowMs());
    requireOffers(registration);
    const miner = await this.miners.register(signer, registration);
    this.hint(SUBJECTS.minersChanged.subject);
    return miner;
  }

  @Delete('miners/:hotkey')
  @HttpCode(204)
  @ApiOperation({ summary: 'Withdraw a miner; signed by its hotkey. Its scores stay' })
  async withdraw(@Param('hotkey') hotkey: string, @Req() request: SignedRequest): Promise<void> {
    const signer = requireSigner(request, hotkey, this.identity, await this.miners.nowMs());
    await this.miners.withdraw(signer);
    this.hint(SUBJECTS.minersChanged.subject);
  }

  @Get('miners')
  @ApiOperation({ summary: 'Miners that take part now' })
  async list(): Promise<MinerList> {
    return { miners: await this.miners.active() };
  }

  @Get('miners/:hotkey')
  @ApiOperation({ summary: 'One miner, withdrawn ones too' })
  async one(@Param('hotkey') hotkey: string): Promise<MinerView> {
    const miner = await this.miners.find(hotkey);
    if (!miner) throw new StudioError('NOT_FOUND', `no miner ${hotkey} is registered`);
    return miner;
  }
}
